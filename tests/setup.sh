#!/bin/sh
# Installs what the tests, the demo and the benchmark run beside freezer. `make setup` calls it; it may be called again.
#
# The original's agent goes into .venv. Where it can't be installed, this says so and goes on: the tests that need it
# are then left out and counted as skipped (tests/run.sh).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

say() { echo "setup: $*" >&2; }

# command → Debian package
needed="
    openssl:openssl gzip:gzip bzip2:bzip2 xz:xz-utils zstd:zstd tar:tar rsync:rsync strace:strace python3:python3
    setfacl:acl setfattr:attr setcap:libcap2-bin setpriv:util-linux unshare:util-linux cmp:diffutils cc:gcc make:make
"
packages=
for pair in $needed; do
    command -v "${pair%%:*}" >/dev/null || [ -x "/usr/sbin/${pair%%:*}" ] || packages="$packages ${pair##*:}"
done
python3 -c 'import venv, ensurepip' 2>/dev/null || packages="$packages python3-venv"
if [ -n "$packages" ]; then
    command -v apt-get >/dev/null || { say "please install:$packages"; exit 1; }
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    say "installing$packages"
    apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq"
    $apt update
    # shellcheck disable=SC2086 # a list of words
    $apt install -y --no-install-recommends $packages >/dev/null
fi

if ! cargo nextest --version >/dev/null 2>&1; then
    say "building cargo-nextest, the test runner (some minutes, once)"
    cargo install --quiet --locked cargo-nextest
fi

stamp=.venv/agent-requirements.txt
if ! cmp -s tests/agent-requirements.txt "$stamp"; then
    say "installing the original's agent into .venv"
    rm -rf .venv
    if python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r tests/agent-requirements.txt &&
        .venv/bin/freezer-agent --version >/dev/null 2>&1; then
        cp tests/agent-requirements.txt "$stamp"
    else
        say "COULD NOT INSTALL the original's agent: the tests of tests/tests/agent.rs will be skipped"
    fi
fi
