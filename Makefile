.DEFAULT_GOAL := help
SHELL := bash

DATA ?= ./data
ARGS ?=

# By its absolute path: a job's working directory is its own.
VENV_PYTHON := $(CURDIR)/.venv/bin/python
# `up` respects an interpreter of your own; tests and figures need the one whose packages are known.
up: export JOB_PYTHON ?= $(VENV_PYTHON)
test test-faults schemathesis mistakes bench chaos coverage: export JOB_PYTHON := $(VENV_PYTHON)

# Looked up only where it is used. One failure hides no other.
TEST_RUNNER = $(if $(shell cargo nextest --version 2>/dev/null),nextest run,test) --no-fail-fast

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

up: ## Build, then run everything: Redis, API and worker in one process (DATA=./data ARGS="--listen …")
	@cargo build --release -p leadersboard-cli & build=$$!; trap 'kill $$build 2>/dev/null' EXIT; \
		scripts/bootstrap.sh redis venv && wait $$build
	@exec target/release/leadersboard up --data "$(DATA)" $(ARGS)

build: ## Build the release binary, target/release/leadersboard
	cargo build --release -p leadersboard-cli

test: ## Run every test, against real processes; those of the sandbox need root
	@scripts/bootstrap.sh redis venv sandbox-venv mlflow-venv tools-venv
	cargo build -p leadersboard-cli
	cargo $(TEST_RUNNER) --workspace
	$(VENV_PYTHON) -m unittest discover -s examples/tests

lint: ## Check the prose, the formatting and the lints
	scripts/prose.sh
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	bash -n scripts/*.sh .ci/run
	scripts/mistakes.sh --check
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; fi

deny: ## Check licences, banned crates and sources (needs cargo-deny)
	@cargo deny --version >/dev/null 2>&1 || \
		{ echo "cargo-deny is missing: cargo install --locked cargo-deny --version '^0.18'" >&2; exit 1; }
	cargo deny check licenses bans sources

test-faults: ## Fail at every step, confine by the least there is, and plant known mistakes for ten minutes
	@scripts/bootstrap.sh redis venv sandbox-venv mlflow-venv tools-venv chromium
	cargo build -p leadersboard-cli --features faults
	mkdir -p target/faults && cp target/debug/leadersboard target/faults/leadersboard
	LEADERSBOARD_BINARY=$(CURDIR)/target/faults/leadersboard \
		cargo $(TEST_RUNNER) -p leadersboard-tests --features faults --test failpoints --test sandbox
	LEADERSBOARD_BINARY=$(CURDIR)/target/faults/leadersboard CHAOS_JOBS=100 CHAOS_SECONDS=20 \
		cargo bench --profile dev -p leadersboard-tests --bench chaos
	scripts/mistakes.sh --some

schemathesis: ## Send the API made-up requests: CASES=400 of each call and phase, 10,000 and more in all
	@scripts/bootstrap.sh redis venv tools-venv
	cargo build -p leadersboard-cli
	SCHEMATHESIS_CASES=$(or $(CASES),400) cargo test -p leadersboard-tests --features faults --test failpoints \
		requests -- --nocapture

mistakes: ## Plant every known mistake in a copy of the tree and check that the tests notice it
	@scripts/bootstrap.sh redis venv sandbox-venv mlflow-venv tools-venv
	scripts/mistakes.sh

bench: ## Measure, and print the figures
	@scripts/bootstrap.sh redis wrk venv mlflow-venv
	cargo build --profile dist -p leadersboard-cli
	cargo bench --profile dist -p leadersboard-tests --bench figures

chaos: ## Run many jobs while everything breaks (CHAOS_JOBS=2000 CHAOS_SECONDS=60 CHAOS_SEED=1)
	@scripts/bootstrap.sh redis venv
	cargo build --release -p leadersboard-cli
	cargo bench -p leadersboard-tests --bench chaos

coverage: ## Print the line coverage of each crate (needs cargo-llvm-cov and the LLVM tools of rustc's version)
	@scripts/bootstrap.sh redis venv sandbox-venv mlflow-venv tools-venv
	scripts/coverage.sh

ci: lint test test-faults ## What CI runs

fmt: ## Format the code
	cargo fmt --all

clean: ## Remove what was built; data stays
	cargo clean
	rm -rf .venv

.PHONY: help up build test test-faults schemathesis mistakes lint deny bench chaos coverage ci fmt clean
