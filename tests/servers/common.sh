# What the server scripts share. Sourced by tests/servers/NAME.sh, which are called as `NAME.sh up|down DIR`.
#
# DIR holds all of an instance: data, log/NAME, pids/NAME, ports/NAME, and `env` with KEY=VALUE lines for those who
# use it. `up` may be called again: what runs is left alone, what has ended is started on the same ports. Servers listen
# on loopback only, and nothing is ended but what was recorded in DIR/pids.
set -euo pipefail

# Distributions keep daemons out of the path of ordinary users.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

usage() {
    echo "usage: $(basename "$0") up|down DIR" >&2
    exit 2
}

[ $# -ge 2 ] || usage
ACTION=$1
mkdir -p "$2"
DIR=$(cd "$2" && pwd)
mkdir -p "$DIR/log" "$DIR/pids" "$DIR/ports"

# Names of the servers that this very call started, to be ended if it fails.
STARTED=()
undo_failed_start() {
    local code=$? name
    [ $code = 0 ] || for name in "${STARTED[@]+"${STARTED[@]}"}"; do stop "$name"; done
}
trap undo_failed_start EXIT

# need COMMAND...: fails unless all of them are there.
need() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null && continue
        echo "$(basename "$0"): there is no $command; tests/setup.sh installs it" >&2
        exit 3
    done
}

# port NAME: a free port of 127.0.0.1, chosen once for this DIR. Below the range from which the kernel takes the ports of
# outgoing connections, which could otherwise take it while the server is down.
port() {
    local file=$DIR/ports/$1
    [ -s "$file" ] || python3 - >"$file" <<'PY'
import random, socket
while True:
    port = random.randrange(12000, 32000)
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
PY
    cat "$file"
}

# running NAME: true if the recorded process is there and isn't a zombie that nobody has reaped yet.
running() {
    local state
    [ -s "$DIR/pids/$1" ] && state=$(ps -o stat= -p "$(cat "$DIR/pids/$1")" 2>/dev/null) && [[ $state != Z* ]]
}

# start NAME COMMAND...: starts it in a session of its own unless it runs.
start() {
    local name=$1
    shift
    running "$name" && return
    setsid "$@" </dev/null >>"$DIR/log/$name" 2>&1 &
    echo $! >"$DIR/pids/$name"
    STARTED+=("$name")
}

# stop NAME: ends the recorded process with its children, by force after ten seconds.
stop() {
    local file=$DIR/pids/$1 pid tries=100
    [ -s "$file" ] || return 0
    pid=$(cat "$file")
    if running "$1"; then
        kill -TERM -- "-$pid" 2>/dev/null || kill -TERM "$pid" 2>/dev/null || true
        while running "$1" && [ $tries -gt 0 ]; do
            sleep 0.1
            tries=$((tries - 1))
        done
        ! running "$1" || kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$file"
}

# stop_all: ends all that was recorded, the newest first.
stop_all() {
    local name
    for name in $(ls -t "$DIR/pids"); do stop "$name"; done
}

# await SECONDS COMMAND...: until it succeeds; fails when the time is over or a server has ended.
await() {
    local end=$((SECONDS + $1)) name
    shift
    until "$@" >/dev/null 2>&1; do
        for name in $(ls "$DIR/pids"); do
            running "$name" && continue
            echo "$name has ended:" >&2
            tail -n 20 "$DIR/log/$name" >&2
            return 1
        done
        [ $SECONDS -lt $end ] || { echo "waited too long for: $*" >&2; return 1; }
        sleep 0.1
    done
}

# listens PORT: true if something answers there.
listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# publish: replaces DIR/env by the KEY=VALUE lines of standard input, at once.
publish() {
    cat >"$DIR/env.new"
    mv "$DIR/env.new" "$DIR/env"
}

# certificates: an authority and a certificate that it signed, as DIR/authority.pem and DIR/server.pem with DIR/server.key.
certificates() {
    local subject=/CN=127.0.0.1 names="subjectAltName=IP:127.0.0.1,DNS:localhost"
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=freezer test authority" \
        -keyout "$DIR/authority.key" -out "$DIR/authority.pem"
    openssl req -newkey rsa:2048 -nodes -subj $subject -keyout "$DIR/server.key" -out "$DIR/server.csr"
    openssl x509 -req -days 3650 -in "$DIR/server.csr" -CA "$DIR/authority.pem" -CAkey "$DIR/authority.key" \
        -CAcreateserial -extfile <(echo "$names") -out "$DIR/server.pem"
}

# short_folder NAME: a folder for sockets, whose paths have at most 107 bytes, whatever DIR is; chosen once for this DIR.
short_folder() {
    [ -s "$DIR/socket" ] || mktemp -d "/tmp/freezer-$1.XXXXXX" >"$DIR/socket"
    mkdir -p "$(cat "$DIR/socket")"
    cat "$DIR/socket"
}

# end_all: stops all, and takes that folder away.
end_all() {
    stop_all
    [ ! -s "$DIR/socket" ] || rm -rf "$(cat "$DIR/socket")"
}

# publish_database: publishes how to log in to what has PORT, SOCKET and DATA.
publish_database() {
    publish <<ENV
HOST=127.0.0.1
PORT=$PORT
SOCKET=$SOCKET
DATADIR=$DATA
AUTHORITY=$DIR/authority.pem
ENV
}
