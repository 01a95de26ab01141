#!/usr/bin/env bash
# Installs what the build and the tests need beyond Rust and Python. Quiet where there is nothing to do.
#
#   scripts/bootstrap.sh [redis] [wrk] [venv]
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

# Installs Debian packages as root, or by sudo where that asks no password.
apt_install() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    command -v apt-get >/dev/null || return 1
    say "installing $*"
    # RUNLEVEL=1 keeps invoke-rc.d from starting the package's own service: the tests and `up` start their own.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c \
        'apt-get install -y -qq "$@" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq "$@" >/dev/null; }' \
        apt_install "$@"
}

need_redis() {
    command -v redis-server >/dev/null || command -v valkey-server >/dev/null || apt_install redis-server || {
        say "redis-server is missing and could not be installed: install Redis 7 or newer (Debian: apt install redis-server)"
        exit 1
    }
}

need_wrk() {
    command -v wrk >/dev/null || apt_install wrk || {
        say "wrk is missing and could not be installed (Debian: apt install wrk)"
        exit 1
    }
}

# A virtual environment for the examples, made once for each state of their requirements.
need_venv() {
    local wanted stamp=.venv/requirements.sha256
    wanted=$(sha256sum examples/requirements.txt | cut -d' ' -f1)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    say "making .venv for the examples"
    rm -rf .venv
    if command -v uv >/dev/null; then
        uv --quiet venv .venv
        uv --quiet pip install --python .venv/bin/python -r examples/requirements.txt
    elif python3 -m venv .venv 2>/dev/null; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
        .venv/bin/uv --quiet pip install --python .venv/bin/python -r examples/requirements.txt
    else
        say "python3 can't make a virtual environment: install uv, or Python's venv (Debian: apt install python3-venv)"
        exit 1
    fi
    printf '%s' "$wanted" >"$stamp"
}

for need in "$@"; do
    case $need in
    redis | wrk | venv) "need_$need" ;;
    *)
        say "usage: scripts/bootstrap.sh [redis] [wrk] [venv]"
        exit 2
        ;;
    esac
done
