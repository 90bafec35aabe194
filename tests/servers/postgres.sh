#!/bin/bash
# A PostgreSQL on loopback, by TCP and by a socket.
#
#   postgres.sh up DIR [tls]   starts it (again); DIR/env then says how to log in
#   postgres.sh down DIR       stops it; its tables stay in DIR/data
#
# Options for `up`, from the environment:
#   TLS=yes                    as the word `tls`: the server has a certificate, and user `tlsonly` must use it
#   DATADIR=PATH               where its tables lie, instead of DIR/data; what lies there already is used as it is
#   BARE=yes                   starts what is there: makes no users and no tables
#   WAL=PATH                   where its log lies (a new data directory only)
#   ARCHIVE=PATH               keeps a copy of each file of the log there
#   SET='name=value ...'       further parameters of the server
# Users, all with password `secret`: postgres (may do all), freezer (what a backup needs), weak (nothing), tlsonly (may do all).
#
# The server refuses to run as root: then it runs as user postgres, who must be able to get to DIR and DATADIR.
. "$(dirname "$0")/common.sh"

BIN=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
PATH=$PATH${BIN:+:$BIN}

if [ "$ACTION" = down ]; then
    # SIGINT ends it at once; it would wait for its clients otherwise.
    ! running postgres || kill -INT "$(cat "$DIR/pids/postgres")"
    end_all
    exit
fi
[ "$ACTION" = up ] || usage
need initdb postgres psql pg_isready pg_dump pg_restore pg_basebackup openssl
[ "${3:-}" != tls ] || TLS=yes

DATA=${DATADIR:-$DIR/data} PORT=$(port postgres)
SOCKETS=$(short_folder postgres)

AS=()
if [ "$(id -u)" = 0 ]; then
    need setpriv
    AS=(setpriv --reuid=postgres --regid=postgres --init-groups)
    chmod 711 "$DIR"
    chown postgres: "$SOCKETS"
fi
ours() { [ ${#AS[@]} = 0 ] || chown -R postgres: "$@"; }

if [ ! -f "$DATA/PG_VERSION" ]; then
    mkdir -p "$DATA" ${WAL:+"$WAL"}
    ours "$DATA" ${WAL:+"$WAL"}
    echo secret >"$SOCKETS/password"
    "${AS[@]}" initdb -D "$DATA" -U postgres -A scram-sha-256 --pwfile="$SOCKETS/password" -N -E UTF8 --locale=C \
        ${WAL:+--waldir="$WAL"} >"$DIR/log/install" 2>&1 || { cat "$DIR/log/install" >&2; exit 1; }
    cat >"$DATA/pg_hba.conf" <<CONF
hostnossl all tlsonly 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
local all all scram-sha-256
local replication all scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
CONF
fi

# An authority and a certificate that it signed.
certificates() {
    local subject=/CN=127.0.0.1 names="subjectAltName=IP:127.0.0.1,DNS:localhost"
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=freezer test authority" \
        -keyout "$DIR/authority.key" -out "$DIR/authority.pem"
    openssl req -newkey rsa:2048 -nodes -subj $subject -keyout "$DIR/server.key" -out "$DIR/server.csr"
    openssl x509 -req -days 3650 -in "$DIR/server.csr" -CA "$DIR/authority.pem" -CAkey "$DIR/authority.key" \
        -CAcreateserial -extfile <(echo "$names") -out "$DIR/server.pem"
    chmod 600 "$DIR/server.key"
    ours "$DIR/server.key"
}
[ -z "${TLS:-}" ] || [ -f "$DIR/server.pem" ] || certificates >"$DIR/log/openssl" 2>&1

OPTIONS=(listen_addresses=127.0.0.1 "port=$PORT" "unix_socket_directories=$SOCKETS" shared_buffers=32MB wal_level=replica)
[ ! -f "$DIR/server.pem" ] || OPTIONS+=(ssl=on "ssl_cert_file=$DIR/server.pem" "ssl_key_file=$DIR/server.key")
if [ -n "${ARCHIVE:-}" ]; then
    mkdir -p "$ARCHIVE"
    ours "$ARCHIVE"
    OPTIONS+=(archive_mode=on "archive_command=cp %p $ARCHIVE/%f")
fi
ARGUMENTS=()
for option in "${OPTIONS[@]}" ${SET:-}; do ARGUMENTS+=(-c "$option"); done

start postgres "${AS[@]}" "$BIN/postgres" -D "$DATA" "${ARGUMENTS[@]}"
await 60 pg_isready -q -h "$SOCKETS" -p "$PORT"

export PGPASSWORD=secret
# Users and what they need exist in all databases; the right to call a function is each database's own.
[ -n "${BARE:-}" ] || psql -qX -v ON_ERROR_STOP=1 -h "$SOCKETS" -p "$PORT" -U postgres <<'SQL'
SELECT 'CREATE ROLE freezer LOGIN REPLICATION PASSWORD ''secret'' IN ROLE pg_read_all_settings, pg_read_all_data'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'freezer') \gexec
SELECT 'CREATE ROLE weak LOGIN PASSWORD ''secret''' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'weak') \gexec
SELECT 'CREATE ROLE tlsonly LOGIN SUPERUSER PASSWORD ''secret'''
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tlsonly') \gexec
GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean) TO freezer;
SELECT 'CREATE DATABASE shop' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'shop') \gexec
SQL

publish <<ENV
HOST=127.0.0.1
PORT=$PORT
SOCKET=$SOCKETS/.s.PGSQL.$PORT
SOCKETS=$SOCKETS
DATADIR=$DATA
AUTHORITY=$DIR/authority.pem
ENV
