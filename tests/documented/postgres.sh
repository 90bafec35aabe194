#!/usr/bin/env bash
# docs/modes/postgres.md, word for word.
page=modes/postgres.md
. "$(dirname "$0")/common.sh"

[ -d /usr/lib/postgresql/15 ] || { echo "the page speaks of PostgreSQL 15, which isn't here"; exit 1; }
data=/var/lib/postgresql/15
btrfs $data
chmod 755 $data
serve postgres DATADIR=$data/main ARCHIVE=/srv/archive
printf "host = 127.0.0.1\nport = %s\nuser = freezer\npassword = 'secret'\n" "$PORT" >/etc/freezer/postgres.conf
chmod 600 /etc/freezer/postgres.conf
install -d -o postgres /run/postgresql
# As an administrator's shell is set up.
export PGHOST=127.0.0.1 PGPORT=$PORT PGUSER=postgres PGPASSWORD=secret PGDATABASE=shop

# sql STATEMENT [OPTION...]: on the server that is backed up, unless options say otherwise.
sql() { psql -qXAt -v ON_ERROR_STOP=1 -c "$@"; }
sum="SELECT md5(string_agg(orders::text, ',' ORDER BY id)) FROM orders"
# on_copy COMMAND...: asks the server on the restored files, which has the usual port.
on_copy() { PGHOST=/run/postgresql PGPORT=5432 "$@"; }

sql "CREATE TABLE orders AS SELECT id, md5(id::text) AS text FROM generate_series(1, 5000) AS id"
before=$(sql "$sum")

# restored DIRECTORY: the server on the restored files has the table.
restored() {
    await on_copy sql "SELECT 1 WHERE NOT pg_is_in_recovery()"
    await on_copy sql "$sum"
    same orders "$before" "$(on_copy sql "$sum")"
    end
    rm -r "$data/$1"
}

run 1
run 2
restored restored
sql "SELECT pg_switch_wal()" >/dev/null
run 3
restored restored
run 4 1
PGDATABASE=postgres sql "DROP DATABASE shop"
# Whoever restores must be allowed to make what is in the dump.
PGDATABASE=postgres sql "ALTER ROLE freezer SUPERUSER"
run 4 2 3
same orders "$before" "$(sql "$sum")"
run 5
restored copy
all_ran
