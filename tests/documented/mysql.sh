#!/usr/bin/env bash
# docs/modes/mysql.md, word for word.
page=modes/mysql.md
. "$(dirname "$0")/common.sh"

btrfs /var/lib/mysql
# As Debian's own configuration has it, with which the copies below are started: without a binary log.
serve mariadb DATADIR=/var/lib/mysql/ PLAIN=yes
printf '[client]\nhost = 127.0.0.1\nport = %s\nuser = freezer\npassword = secret\n' "$PORT" >/etc/freezer/mysql.conf
chmod 600 /etc/freezer/mysql.conf
mkdir /run/mysqld
chown mysql: /run/mysqld

# sum SOCKET: what the table holds.
sum() { mariadb --no-defaults -uroot -N -S "$1" -e 'CHECKSUM TABLE shop.orders' | cut -f 2; }
# sql STATEMENT...: on the server that is backed up.
sql() { mariadb --no-defaults -uroot -N -S "$SOCKET" -e "$*"; }
sql 'USE shop; CREATE TABLE orders (id INT PRIMARY KEY, text VARCHAR(100)) ENGINE=InnoDB;
     INSERT INTO orders SELECT seq, MD5(seq) FROM seq_1_to_5000;'
# What a restore of a dump writes takes more than a backup of it.
sql "GRANT ALL ON *.* TO freezer@'127.0.0.1' WITH GRANT OPTION"
before=$(sum "$SOCKET")

# restored: the server on the restored files has the table.
restored() {
    await mariadb-admin --no-defaults -uroot -S /run/mysqld/mysqld.sock ping
    same shop.orders "$before" "$(sum /run/mysqld/mysqld.sock)"
    end
    rm -r /var/lib/mysql-new
}

run 1
run 2
restored
run 4
restored
run 3 1
sql 'DROP DATABASE shop'
run 3 2
same shop.orders "$before" "$(sum "$SOCKET")"
all_ran
