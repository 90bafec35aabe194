#!/bin/sh
# Runs every test: units of all crates, the SDK's documentation, and the end-to-end tests against target/release/freezer.
# `make test` sets up and builds first. Further arguments go to `cargo nextest run`.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

shout() {
    echo "==============================================================================="
    echo "  SKIPPED: $*"
    echo "==============================================================================="
} >&2

# nextest counts what a filter leaves out as skipped: an oracle that is missing never looks like a test that passed.
filter='all()'
if ! .venv/bin/freezer-agent --version >/dev/null 2>&1; then
    shout "the original's agent isn't in .venv, so nothing is restored by it and no chain of it continued (tests/setup.sh)"
    filter="$filter & !binary(agent)"
fi

plugins/build.sh guests
cargo test --quiet --release --locked --doc -p freezer-sdk
exec cargo nextest run --release --locked --workspace --no-fail-fast -E "$filter" "$@"
