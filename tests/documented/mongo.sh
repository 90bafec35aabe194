#!/usr/bin/env bash
# docs/modes/mongo.md, word for word, as far as a server of another make can stand in for MongoDB's: the lock is the scripted
# peer's, the files are SecantusDB's, and it starts on the restored ones under the name of mongod.
page=modes/mongo.md
. "$(dirname "$0")/common.sh"

python=$root/.venv-mongo/bin/python
echo mongodb:x:990:990::/:/bin/false >>/etc/passwd
echo mongodb:x:990: >>/etc/group
btrfs /var/lib/mongodb

# What is in the files, written by a server that is stopped before its files are backed up under the peer's lock.
documents() {
    "$python" - "$1" "$2" <<'PY'
import sys, pymongo
orders = pymongo.MongoClient("127.0.0.1", int(sys.argv[1])).shop.orders
if sys.argv[2] == "fill":
    orders.insert_many({"_id": number, "text": str(number) * 9} for number in range(500))
print(sum(document["_id"] for document in orders.find()), orders.count_documents({}))
PY
}
serve mongo DATADIR=/var/lib/mongodb
before=$(documents "$PORT" fill)
stop_served
rm -r "$work/server"
serve mongo DATADIR=/var/lib/mongodb PEER=yes AUTH=yes ROLE=standalone
printf 'host = 127.0.0.1\nport = %s\nuser = freezer\npassword = secret\n' "$PORT" >/etc/freezer/mongo.conf
chmod 600 /etc/freezer/mongo.conf

cat >"$work/bin/mongod" <<'SH'
#!/bin/sh
[ "$1" = --dbpath ] || exit 2
exec "$SECANTUS" --host 127.0.0.1 --port 27017 --storage-path "$2" --log-level WARNING
SH
chmod +x "$work/bin/mongod"
export SECANTUS=$root/.venv-mongo/bin/secantusd-py

run 1
run 2
await documents 27017 look
same shop.orders "$before" "$(documents 27017 look)"
end
run 3
all_ran
