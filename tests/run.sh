#!/bin/sh
# Runs every test: units of all crates, the SDK's documentation, and the end-to-end tests against target/release/freezer.
# `make test` sets up and builds first. Further arguments go to `cargo nextest run`; one that begins with -E, which must stand
# first, chooses among the tests that can run here.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

shout() {
    echo "==============================================================================="
    echo "  SKIPPED: $*"
    echo "==============================================================================="
} >&2

# nextest counts what a filter leaves out as skipped: an oracle or a right that is missing never looks like a test that passed.
filter='all()'
if ! .venv/bin/freezer-agent --version >/dev/null 2>&1; then
    shout "the original's agent isn't in .venv, so nothing is restored by it and no chain of it continued (tests/setup.sh)"
    filter="$filter & !binary(agent) & !test(needs_keystone_swift_and_agent)"
fi

# Tests with needs_root, needs_mounts, needs_uml or needs_strace in their path ask for what this machine may refuse.
without() {
    shout "$2: tests named $1 are left out"
    filter="$filter & !test($1)"
}
if [ "$(id -u)" != 0 ] || ! setpriv --reuid=65534 --regid=65534 --clear-groups true 2>/dev/null; then
    without needs_root "this isn't root, or it can't become another user"
fi
if ! unshare -m sh -c 'mount -t tmpfs -o size=64k none /mnt && mount --bind /mnt /mnt' 2>/dev/null; then
    without needs_mounts "nothing can be mounted here"
fi
if ! PATH=$PATH:/usr/sbin:/sbin command -v linux.uml >/dev/null || ! PATH=$PATH:/usr/sbin:/sbin command -v lvm >/dev/null; then
    without needs_uml "user-mode Linux or LVM isn't installed (tests/setup.sh)"
fi
if ! .mysql/bin/mysqld --version >/dev/null 2>&1; then
    without needs_mysql "MySQL isn't unpacked (tests/setup.sh)"
fi
if ! strace -qq -o /dev/null -e inject=getppid:error=EIO true 2>/dev/null; then
    without needs_strace "strace can't trace here"
fi

if [ "${1:-}" = -E ]; then
    filter="$filter & ($2)"
    shift 2
fi

# Servers that tests share; those that break theirs start their own. Whatever happens, all are stopped.
# All that they and the tests store lies in memory, where there is room for it, programs may lie there too, and extended attributes are
# kept, as Swift needs: waiting for a disk, and looking for room on one, is much of what they would do. Tests that are about disks use
# /var/tmp.
memory_will_do() {
    [ "$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')" -gt 4000000 ] 2>/dev/null || return
    probe=$(mktemp /dev/shm/freezer-probe.XXXXXX) || return
    will=0
    { printf '#!/bin/sh\n' >"$probe" && chmod +x "$probe" && "$probe" &&
        python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.freezer", b"")' "$probe"; } 2>/dev/null || will=1
    rm "$probe"
    return $will
}
if [ -z "${TMPDIR:-}" ] && memory_will_do; then
    export TMPDIR=/dev/shm
fi
servers=$(mktemp -d "${TMPDIR:-/tmp}/freezer-servers.XXXXXX")
# sshd reads the keys that it takes as the user who logs in.
chmod 711 "$servers"
stop_servers() {
    for folder in "$servers"/*/; do
        [ -f "$folder/script" ] && "$(cat "$folder/script")" down "$folder" || true
    done
    rm -rf "$servers"
}
trap stop_servers EXIT
trap 'exit 130' INT TERM HUP

# serve NAME SCRIPT: starts one; tests find its folder by the variable FREEZER_TEST_NAME. Where its programs aren't
# installed, the tests named needs_NAME are left out.
serve() {
    folder=$servers/$1
    mkdir "$folder"
    echo "tests/servers/$2.sh" >"$folder/script"
    failed=0
    "tests/servers/$2.sh" up "$folder" || failed=$?
    case $failed in
    0) export "FREEZER_TEST_$(printf %s "$1" | tr a-z- A-Z_)=$folder" ;;
    3) without "needs_$(printf %s "$1" | tr - _)" "$2 isn't installed (tests/setup.sh)" ;;
    *) echo "$2 did not start" >&2; exit 1 ;;
    esac
}
serve sshd sshd
serve swift swift
serve keystone keystone
serve s3 s3
TLS=yes serve mariadb mariadb
TLS=yes serve postgres postgres
AUTH=yes serve mongo mongo
if [ -n "${FREEZER_TEST_KEYSTONE:-}" ]; then
    KEYSTONE=$FREEZER_TEST_KEYSTONE serve keystone-swift swift
fi

plugins/build.sh guests
# Beside freezer, so that what both use is compiled once.
cargo test --quiet --release --locked --doc -p freezer-sdk -p freezer
# More at once than there are cores, since some only wait.
export NEXTEST_TEST_THREADS="${NEXTEST_TEST_THREADS:-$(($(nproc) + 2))}"
cargo nextest run --release --locked --workspace --no-fail-fast -E "$filter" "$@"
