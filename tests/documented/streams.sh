#!/usr/bin/env bash
# docs/streams.md, word for word.
page=streams.md
. "$(dirname "$0")/common.sh"

serve postgres
# As an administrator's shell is set up.
export PGHOST=127.0.0.1 PGPORT=$PORT PGUSER=postgres PGPASSWORD=secret
cd "$HOME"

# sql DATABASE STATEMENT
sql() { psql -qXAt -v ON_ERROR_STOP=1 "$1" -c "$2"; }
sum="SELECT md5(string_agg(orders::text, ',' ORDER BY id)) FROM orders"
sql shop "CREATE TABLE orders AS SELECT id, 'secret ' || id AS text FROM generate_series(1, 50) AS id"
before=$(sql shop "$sum")

# restored: the block of restores gives the table back, and what each wrote is the same.
restored() {
    sql postgres "DROP DATABASE shop"
    sql postgres "CREATE DATABASE shop"
    run 3
    same orders "$1" "$(sql shop "$sum")"
    cmp shop.sql DIR/shop.sql || fail "-o and --target differ"
    rm -r shop.sql DIR
}

run 1
restored "$before"
sql shop "SELECT 1" >/dev/null
run 2
sql shop "UPDATE orders SET text = replace(text, 'secret', 'xxxxxx')"
changed=$(sql shop "$sum")
[ "$changed" != "$before" ] || fail "nothing was to be changed"
restored "$changed"
all_ran
