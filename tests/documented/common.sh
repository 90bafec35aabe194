# What the scripts of this folder share: they run the commands of a page of docs/ word for word, on the very paths that
# it names. Sourced by tests/documented/NAME.sh, which are called as `unshare --mount --net NAME.sh FREEZER`, so that
# those paths and the usual ports are theirs alone.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
name=$(basename "$0" .sh)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/freezer-documented.XXXXXX")
ran=" "
server=

mkdir "$work/bin"
ln -s "$1" "$work/bin/freezer"
export PATH=$work/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=$work/home XDG_STATE_HOME=$work/state XDG_CACHE_HOME=$work/cache XDG_CONFIG_HOME=$work/config LC_ALL=C.UTF-8 TZ=UTC
mkdir "$HOME" "$work/cache"

fail() { echo "$*"; exit 1; }

leave() {
    local code=$?
    end
    [ ! -f "$work/server/script" ] || "$(cat "$work/server/script")" down "$work/server" >/dev/null 2>&1 || true
    # The mounts go with the namespace; what is in files would hold the folder.
    cd /
    umount -l /var/lib /srv /etc 2>/dev/null || true
    rm -rf "$work"
    [ $code != 0 ] || echo "ok $name"
}
trap leave EXIT

# Other ones than those of this machine: /srv, /run and /var/lib empty, /etc a copy, and a folder for temporary files, since a
# database's server that starts takes away the temporary tables of all others in it.
mkdir -m 1777 "$work/temporary"
export TMPDIR=$work/temporary
ip link set lo up
mount -t tmpfs tmpfs /srv
mkdir /srv/backups
cp -a /etc "$work/etc"
mount --bind "$work/etc" /etc
mkdir -p /etc/freezer
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib

# btrfs DIRECTORY: makes it, on a file system that can be frozen.
btrfs() {
    truncate -s 700M "$work/image"
    mkfs.btrfs -q "$work/image"
    mkdir -p "$1"
    mount -o loop "$work/image" "$1"
}

# serve NAME [OPTION=VALUE...]: starts a server of tests/servers on DIR/env's port, and reads what it tells.
serve() {
    local script=$root/tests/servers/$1.sh
    shift
    mkdir "$work/server"
    chmod 711 "$work" "$work/server"
    echo "$script" >"$work/server/script"
    env "$@" "$script" up "$work/server"
    # shellcheck disable=SC1091 # written by the server's script
    . "$work/server/env"
}

# stop_served: ends that server.
stop_served() { "$(cat "$work/server/script")" down "$work/server"; }

# commands NUMBER: the lines of the page's so manieth block of a console that are typed, without their prompts.
commands() {
    awk -v wanted="$1" '/^```console$/ { block++; inside = 1; next } /^```$/ { inside = 0 }
        inside && block == wanted && /^[#$] / { print substr($0, 3) }' "$root/docs/$page"
}

# run NUMBER [LINE...]: types them, or only those, one after the other; each must succeed.
run() {
    local block=$1 lines=() line number
    shift
    mapfile -t -O 1 lines < <(commands "$block")
    [ ${#lines[@]} -gt 0 ] || fail "docs/$page has no block $block of a console"
    for number in ${*:-${!lines[@]}}; do
        line=${lines[$number]}
        ran="$ran$block.$number "
        echo "# $line"
        case $line in
        mariadbd\ * | mongod\ * | su\ postgres\ -c\ *bin/postgres*) begin "$line" ;;
        *kind=logical*mongo-conf=* | *mongo-conf=*drop=true*) echo "  (MongoDB's own programs aren't there)" ;;
        *) eval "$line" || fail "docs/$page: $line: status $?" ;;
        esac
    done
}

# begin COMMAND: one that goes on until `end`.
begin() {
    # Not where an administrator's shell asks questions: on its usual port.
    env -u PGHOST -u PGPORT setsid bash -c "exec $1" </dev/null >"$work/log" 2>&1 &
    server=$!
}

# end: ends it.
end() {
    [ -n "$server" ] || return 0
    kill -TERM -- "-$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}

# await COMMAND...: until it succeeds.
await() {
    local tries=600
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || { [ -n "$server" ] && ! kill -0 "$server" 2>/dev/null; }; then
            tail -n 20 "$work/log"
            fail "in vain: $*"
        fi
        sleep 0.1
    done
}

# same WHAT ONE OTHER: they must be equal, and not empty.
same() {
    if [ -z "$2" ] || [ "$2" != "$3" ]; then fail "$1: $2 before, $3 afterwards"; fi
    echo "  $1 is as it was"
}

# all_ran: no command of the page was left out.
all_ran() {
    local block count number lines
    count=$(grep -c '^```console$' "$root/docs/$page")
    for block in $(seq "$count"); do
        lines=()
        mapfile -t -O 1 lines < <(commands "$block")
        for number in "${!lines[@]}"; do
            case $ran in *" $block.$number "*) ;; *) fail "docs/$page: nobody runs ${lines[$number]}" ;; esac
        done
    done
}
