#!/bin/bash
# A server that speaks MongoDB's wire protocol, on loopback.
#
#   mongo.sh up DIR       starts it (again); DIR/env then says how to log in
#   mongo.sh down DIR     stops it; what it stored stays in DIR/data
#
# Options for `up`, from the environment:
#   AUTH=yes              users must log in: freezer (root), weak (nothing), both with password `secret`
#   DATADIR=PATH          where its data lies, instead of DIR/data; what lies there already is used as it is
#   PEER=yes              starts tests/servers/mongo_peer.py instead, which plays what the server can't: fsyncLock, members of replica
#                         sets, lies; ROLE, SIN, HIDE and TLS=yes are for it. DIR/locks then says how often it is locked
# It is SecantusDB, from the virtual environment that tests/setup.sh makes: a server of its own kind over WiredTiger.
. "$(dirname "$0")/common.sh"

if [ "$ACTION" = down ]; then
    stop_all
    exit
fi
[ "$ACTION" = up ] || usage
VENV=$(cd "$(dirname "$0")/../.." && pwd)/.venv-mongo
need "$VENV/bin/secantusd-py" openssl
DATA=${DATADIR:-$DIR/data} PORT=$(port mongo)
mkdir -p "$DATA"

serve() {
    start mongo "$VENV/bin/secantusd-py" --host 127.0.0.1 --port "$PORT" --storage-path "$DATA" --cache-size 64M \
        --sync-on-commit --log-level WARNING "$@"
    await 60 listens "$PORT"
}

add_users() {
    "$VENV/bin/python" - "$PORT" <<'PY'
import sys, pymongo
admin = pymongo.MongoClient("127.0.0.1", int(sys.argv[1])).admin
admin.command("createUser", "freezer", pwd="secret", roles=["root"])
admin.command("createUser", "weak", pwd="secret", roles=[])
PY
}

if [ -n "${PEER:-}" ]; then
    if [ -n "${TLS:-}" ] && [ ! -f "$DIR/server.pem" ]; then
        certificates >"$DIR/log/openssl" 2>&1
    fi
    start peer "$VENV/bin/python" "$(dirname "$0")/mongo_peer.py" "$DIR" "$PORT" "$DATA"
    await 60 listens "$PORT"
elif [ -n "${AUTH:-}" ]; then
    if [ ! -f "$DIR/users" ]; then
        serve
        add_users
        stop mongo
        touch "$DIR/users"
    fi
    serve --auth
else
    serve
fi

publish <<ENV
HOST=127.0.0.1
PORT=$PORT
DATADIR=$DATA
AUTHORITY=$DIR/authority.pem
LOCKS=$DIR/locks
COMMANDS=$DIR/commands
PYTHON=$VENV/bin/python
ENV
