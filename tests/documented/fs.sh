#!/usr/bin/env bash
# docs/modes/fs.md, word for word.
page=modes/fs.md
. "$(dirname "$0")/common.sh"

btrfs /srv/data
mkdir -p /srv/data/reports /srv/data/cache
for number in 1 2 3; do head -c 100000 /dev/urandom >/srv/data/reports/$number.pdf; done
echo thumbnail >/srv/data/cache/small
ln -s reports/1.pdf /srv/data/latest

run 1
diff -r --no-dereference --exclude=cache /srv/data /srv/restored && [ ! -e /srv/restored/cache ] || fail "/srv/restored differs"
echo more >/srv/data/reports/4.pdf
rm /srv/data/reports/2.pdf
run 2
diff -r --no-dereference --exclude=cache /srv/data /srv/today || fail "/srv/today differs"
run 3
[ "$(ls -d /srv/data/.freezer-snapshot-* 2>/dev/null)" = "" ] || fail "a snapshot is left"
diff -r --no-dereference /srv/data /srv/frozen || fail "/srv/frozen differs"
run 4
cmp /srv/data/reports/3.pdf /srv/one/reports/3.pdf
[ "$(find /srv/one -type f | wc -l)" = 1 ] || fail "more than one file in /srv/one"
cmp /srv/data/reports/3.pdf /srv/3.pdf
all_ran
