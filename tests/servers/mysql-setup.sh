#!/bin/bash
# Unpacks Oracle's MySQL, which Debian has in its development branch alone, with every library that it needs:
#
#   mysql-setup.sh DIR   DIR/bin then holds mysqld, mysql, mysqladmin and mysqldump
#
# Nothing of it is installed: the programs are started by the loader that came with them.
set -euo pipefail

[ $# = 1 ] || { echo "usage: $(basename "$0") DIR" >&2; exit 2; }
mkdir -p "$1"
DIR=$(cd "$1" && pwd)
STATE=$DIR/state ROOT=$DIR/root

# A package manager's state of its own, in which nothing is installed: so it asks for the C library, too.
mkdir -p "$STATE/lists/partial" "$STATE/archives/partial"
: >"$STATE/status"
# The mirror is the one that this machine uses.
mirror=$(sed -n '/^ *#/d; s#^\(.* \)\?\(https\{0,1\}://[^ ]*/debian\)/\{0,1\}\( .*\)\?$#\2#p' /etc/apt/sources.list \
    /etc/apt/sources.list.d/* 2>/dev/null | sed -n 1p || true)
[ -n "$mirror" ] || { echo "$(basename "$0"): apt's sources name no mirror of Debian" >&2; exit 1; }
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $mirror sid main" >"$STATE/sources.list"
options=(
    -o Dir::State="$STATE" -o Dir::State::status="$STATE/status" -o Dir::Cache="$STATE" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::sourcelist="$STATE/sources.list" -o Debug::NoLocking=1 -o Acquire::Languages=none -qq
)
apt-get "${options[@]}" update
apt-get "${options[@]}" --yes --no-install-recommends --download-only install mysql-server-core mysql-client-core
for package in "$STATE"/archives/*.deb; do dpkg-deb -x "$package" "$ROOT"; done
rm -rf "$STATE" "$ROOT/usr/share/doc"

mkdir -p "$DIR/bin"
for program in sbin/mysqld bin/mysql bin/mysqladmin bin/mysqldump; do
    cat >"$DIR/bin/${program#*/}" <<RUN
#!/bin/sh
exec '$ROOT/usr/lib64/ld-linux-x86-64.so.2' --library-path '$ROOT/usr/lib/x86_64-linux-gnu' '$ROOT/usr/$program' "\$@"
RUN
    chmod 755 "$DIR/bin/${program#*/}"
done
"$DIR/bin/mysqld" --version
