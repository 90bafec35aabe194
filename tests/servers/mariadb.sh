#!/bin/bash
# A MariaDB on loopback, by TCP and by a socket, with a binary log.
#
#   mariadb.sh up DIR [tls]   starts it (again); DIR/env then says how to log in
#   mariadb.sh down DIR       stops it; its tables stay in DIR/data
#
# Options for `up`, from the environment:
#   TLS=yes                   as the word `tls`: the server has a certificate, and user `tlsonly` must use it
#   DATADIR=PATH              where its tables lie, instead of DIR/data; what lies there already is used as it is
#   PLAIN=yes                 keeps no binary log
#   BARE=yes                  starts what is there: makes no users and no tables
# Users, all with password `secret` but root, who has none: freezer (what a backup needs), weak (nothing), tlsonly.
. "$(dirname "$0")/common.sh"

if [ "$ACTION" = down ]; then
    end_all
    exit
fi
[ "$ACTION" = up ] || usage
need mariadbd mariadb-install-db mariadb mariadb-admin mariadb-dump mariadb-backup mbstream openssl
[ "${3:-}" != tls ] || TLS=yes

DATA=${DATADIR:-$DIR/data} PORT=$(port mariadb)
SOCKET=$(short_folder mariadb)/mysqld.sock

# A server that starts takes away the temporary tables that it finds, other servers' too.
TEMPORARY=$DIR/temporary
mkdir -p "$TEMPORARY"

install() {
    TMPDIR=$TEMPORARY mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$DATA" --innodb-use-native-aio=0 \
        --auth-root-authentication-method=normal --skip-test-db >"$DIR/log/install" 2>&1
}
if [ ! -d "$DATA/mysql" ]; then
    # Once more for a machine that is too busy to answer in time.
    install || { rm -rf "${DATA:?}"/* && install; } || { cat "$DIR/log/install" >&2; exit 1; }
fi

[ -z "${TLS:-}" ] || [ -f "$DIR/server.pem" ] || certificates >"$DIR/log/openssl" 2>&1

cat >"$DIR/my.cnf" <<CONF
[mariadbd]
user = $(id -un)
datadir = $DATA
tmpdir = $TEMPORARY
socket = $SOCKET
port = $PORT
bind-address = 127.0.0.1
skip-name-resolve
pid-file = $DIR/mariadbd.pid
innodb-buffer-pool-size = 64M
innodb-log-file-size = 16M
innodb-use-native-aio = 0
CONF
[ -n "${PLAIN:-}" ] || printf 'log-bin = %s\nserver-id = 1\n' "$DATA/binlog" >>"$DIR/my.cnf"
[ ! -f "$DIR/server.pem" ] || cat >>"$DIR/my.cnf" <<CONF
ssl-cert = $DIR/server.pem
ssl-key = $DIR/server.key
CONF

start mariadbd mariadbd --defaults-file="$DIR/my.cnf"
await 60 mariadb-admin --no-defaults -uroot -S "$SOCKET" ping

[ -n "${BARE:-}" ] || mariadb --no-defaults -uroot -S "$SOCKET" <<SQL
CREATE USER IF NOT EXISTS freezer@'127.0.0.1' IDENTIFIED BY 'secret', freezer@localhost IDENTIFIED BY 'secret';
GRANT RELOAD, LOCK TABLES, SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS, BINLOG MONITOR, REPLICATION CLIENT
    ON *.* TO freezer@'127.0.0.1', freezer@localhost;
CREATE USER IF NOT EXISTS weak@'127.0.0.1' IDENTIFIED BY 'secret';
CREATE USER IF NOT EXISTS tlsonly@'127.0.0.1' IDENTIFIED BY 'secret' REQUIRE SSL;
GRANT ALL ON *.* TO tlsonly@'127.0.0.1';
CREATE DATABASE IF NOT EXISTS shop;
SQL

publish_database
