#!/bin/bash
# Oracle's MySQL on loopback, by TCP, with a certificate, and by a socket, with a binary log.
#
#   mysql.sh up DIR     starts it (again); DIR/env then says how to log in
#   mysql.sh down DIR   stops it; its tables stay in DIR/data
#
# Options for `up`, from the environment:
#   DATADIR=PATH        where its tables lie, instead of DIR/data; what lies there already is used as it is
#   BARE=yes            starts what is there: makes no users and no tables
# Users: root without a password, by the socket; freezer (what a backup needs) and weak (nothing), both with password `secret`.
. "$(dirname "$0")/common.sh"

if [ "$ACTION" = down ]; then
    end_all
    exit
fi
[ "$ACTION" = up ] || usage
PROGRAMS=$(cd "$(dirname "$0")/../.." && pwd)/.mysql
PATH=$PROGRAMS/bin:$PATH
need mysqld mysqladmin openssl

DATA=${DATADIR:-$DIR/data} PORT=$(port mysql)
SOCKET=$(short_folder mysql)/mysqld.sock

# A server that starts takes away the temporary tables that it finds, other servers' too.
TEMPORARY=$DIR/temporary
mkdir -p "$TEMPORARY"
[ -f "$DIR/server.pem" ] || certificates >"$DIR/log/openssl" 2>&1
cat >"$DIR/my.cnf" <<CONF
[mysqld]
user = $(id -un)
basedir = $PROGRAMS/root/usr
plugin-dir = $PROGRAMS/root/usr/lib/mysql/plugin
datadir = $DATA
tmpdir = $TEMPORARY
socket = $SOCKET
port = $PORT
bind-address = 127.0.0.1
secure-file-priv = NULL
mysqlx = OFF
skip-name-resolve
pid-file = $DIR/mysqld.pid
server-id = 1
innodb-buffer-pool-size = 64M
innodb-redo-log-capacity = 16M
innodb-use-native-aio = 0
ssl-ca = $DIR/authority.pem
ssl-cert = $DIR/server.pem
ssl-key = $DIR/server.key
CONF
[ -d "$DATA/mysql" ] || mysqld --defaults-file="$DIR/my.cnf" --initialize-insecure >"$DIR/log/install" 2>&1 ||
    { cat "$DIR/log/install" >&2; exit 1; }

start mysqld mysqld --defaults-file="$DIR/my.cnf"
await 60 mysqladmin --no-defaults -uroot -S "$SOCKET" ping

[ -n "${BARE:-}" ] || mysql --no-defaults -uroot -S "$SOCKET" <<SQL
CREATE USER IF NOT EXISTS freezer@'127.0.0.1' IDENTIFIED BY 'secret', freezer@localhost IDENTIFIED BY 'secret';
GRANT RELOAD, LOCK TABLES, SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS, REPLICATION CLIENT ON *.*
    TO freezer@'127.0.0.1', freezer@localhost;
CREATE USER IF NOT EXISTS weak@'127.0.0.1' IDENTIFIED BY 'secret';
CREATE DATABASE IF NOT EXISTS shop;
SQL

publish_database
