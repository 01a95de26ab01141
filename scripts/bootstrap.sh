#!/usr/bin/env bash
# Installs what the build and the tests need beyond Rust and Python. Quiet where there is nothing to do.
#
#   scripts/bootstrap.sh [redis] [wrk] [venv] [sandbox-venv] [mlflow-venv] [tools-venv] [chromium]   all of them when none is named
set -euo pipefail
cd "$(dirname "$0")/.."

usage="usage: scripts/bootstrap.sh [redis] [wrk] [venv] [sandbox-venv] [mlflow-venv] [tools-venv] [chromium]"

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Runs a command as root, by sudo where that asks no password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Installs a Debian package without starting the service it may bring: the tests and `up` start a Redis of their own,
# and port 6379 may be somebody else's. policy-rc.d is what both invoke-rc.d and deb-systemd-invoke ask; RUNLEVEL=1 is
# ignored by the second. A policy that is already there is left alone.
apt_install() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null || return 1
    say "installing $1"
    as_root sh -eu -s "$1" <<'ROOT'
        export DEBIAN_FRONTEND=noninteractive
        policy=/usr/sbin/policy-rc.d
        trap 'exit 1' HUP INT TERM
        if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        # A fresh machine has no package lists, an old one has stale ones; a current one needs no update.
        apt-get install -y -qq "$1" >/dev/null 2>&1 </dev/null || {
            apt-get update -qq </dev/null
            apt-get install -y -qq "$1" >/dev/null </dev/null
        }
ROOT
}

has_redis() { command -v redis-server >/dev/null || command -v valkey-server >/dev/null; }

need_redis() {
    local unit=redis-server.service had_unit=no server version
    if ! has_redis; then
        systemctl cat "$unit" >/dev/null 2>&1 && had_unit=yes
        apt_install redis-server ||
            fail "no redis-server, and it could not be installed: install Redis 7 or newer (Debian: apt install redis-server)"
        # The package enables its service for the next boot. Only a unit that came with it just now is ours to disable.
        if [ "$had_unit" = no ] && command -v systemctl >/dev/null; then
            as_root systemctl disable --quiet "$unit" >/dev/null 2>&1 ||
                say "note: $unit will start at the next boot: systemctl disable $unit"
        fi
    fi
    server=$(command -v redis-server || command -v valkey-server)
    version=$("$server" --version | sed -n 's/.*v=\([0-9]*\)\..*/\1/p')
    # A version that can't be read is left to `leadersboard`, which asks the running server.
    [ "${version:-7}" -ge 7 ] || fail "$server is version $version: install Redis 7 or newer, or Valkey"
}

need_wrk() {
    command -v wrk >/dev/null || apt_install wrk ||
        fail "wrk is missing and could not be installed (Debian: apt install wrk)"
}

need_chromium() {
    command -v chromium >/dev/null || apt_install chromium ||
        fail "chromium is missing and could not be installed (Debian: apt install chromium)"
}

# A virtual environment for the examples, made once for each state of their requirements.
need_venv() {
    # The system's interpreter before uv's own, which lies in a home that the user of a job may not enter.
    make_venv .venv examples/requirements.txt python3 --python-preference system
}

# One for the programs of tests/sandbox, which run as users that may enter nobody's home.
need_sandbox_venv() {
    make_venv target/sandbox-venv tests/sandbox/requirements.txt /usr/bin/python3 --python /usr/bin/python3
}

# One for the MLflow that the tests start, and for the client that reads back what it was told.
need_mlflow_venv() {
    make_venv target/mlflow-venv tests/mlflow/requirements.txt /usr/bin/python3 --python /usr/bin/python3
}

# One for the programs that the tests run against the API.
need_tools_venv() {
    make_venv target/tools-venv tests/tools/requirements.txt /usr/bin/python3 --python /usr/bin/python3
}

# make_venv FOLDER REQUIREMENTS PYTHON UV_OPTION…
make_venv() {
    local folder=$1 requirements=$2 python=$3 stamp=$1/requirements.sha256 wanted uv
    shift 3
    wanted=$(sha256sum "$requirements" | cut -d' ' -f1)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$folder/bin/python" -c '' 2>/dev/null; then
        return
    fi
    say "making $folder for $requirements"
    local no_packages="could not install $requirements into $folder: see above; a mirror is set by UV_DEFAULT_INDEX for"
    no_packages+=" uv, by PIP_INDEX_URL for pip"
    rm -rf "$folder"
    # The one that the examples' environment brings is many times as fast as pip.
    if uv=$(command -v uv || command -v .venv/bin/uv); then
        "$uv" venv --quiet "$@" "$folder" || fail "uv could not make $folder: see above"
        "$uv" pip install --quiet --python "$folder/bin/python" -r "$requirements" || fail "$no_packages"
    else
        plain_venv "$python" "$folder" || { apt_install python3-venv && plain_venv "$python" "$folder"; } ||
            fail "$python can't make a virtual environment: install uv, or Python with venv (Debian: apt install python3-venv)"
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" || fail "$no_packages"
    fi
    # Last, so that what was cut short is made again.
    printf '%s' "$wanted" >"$stamp"
}

# Debian's python3 has the venv module, but without python3-venv not the pip that goes into one.
plain_venv() {
    rm -rf "$2"
    "$1" -m venv "$2" >/dev/null 2>&1
}

[ "$#" -gt 0 ] || set -- redis wrk venv sandbox-venv mlflow-venv tools-venv chromium
for need in "$@"; do
    case $need in
    redis | wrk | venv | sandbox-venv | mlflow-venv | tools-venv | chromium) ;;
    *)
        say "$usage"
        exit 2
        ;;
    esac
done
for need in "$@"; do
    "need_${need//-/_}"
done
