.DEFAULT_GOAL := help
SHELL := bash

DATA ?= ./data
ARGS ?=
VENV_PYTHON := $(CURDIR)/.venv/bin/python
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

up: ## Build, then run everything: Redis, API and worker in one process (ARGS="--listen …", DATA=./data)
	@scripts/bootstrap.sh redis venv
	cargo build --release -p leadersboard-cli
	@JOB_PYTHON=$${JOB_PYTHON:-$(VENV_PYTHON)} exec target/release/leadersboard up --data $(DATA) $(ARGS)

build: ## Build the release binary
	cargo build --release -p leadersboard-cli

test: ## Run every test, against real processes
	@scripts/bootstrap.sh redis venv
	cargo build -p leadersboard-cli
ifeq ($(NEXTEST),yes)
	JOB_PYTHON=$(VENV_PYTHON) cargo nextest run --workspace
else
	JOB_PYTHON=$(VENV_PYTHON) cargo test --workspace
endif
	$(VENV_PYTHON) -m unittest discover -s examples/tests

lint: ## Check the formatting and the lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny: ## Check licences, banned crates and sources (needs cargo-deny: cargo install cargo-deny)
	cargo deny check licenses bans sources

bench: ## Measure, and print the figures
	@scripts/bootstrap.sh redis wrk venv
	cargo build --release -p leadersboard-cli
	JOB_PYTHON=$(VENV_PYTHON) cargo bench -p leadersboard-tests --bench figures

ci: lint test ## What CI runs

fmt: ## Format everything
	cargo fmt --all

clean: ## Remove what was built; data stays
	cargo clean
	rm -rf .venv

.PHONY: help up build test lint deny bench ci fmt clean
