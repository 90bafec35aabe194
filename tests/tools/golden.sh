#!/bin/sh
# Writes the golden archives of a stored format, once, when it is released: golden.sh FORMAT [FREEZER]
#
# Makes tests/golden/FORMAT with one container per way of storing, levels 0 to 2 each, a list of every state and the
# pass file. tests/tests/released.rs reads them for ever: a folder that exists is never written again.
set -eu

format=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
freezer=${2:-$root/target/release/freezer}
golden=$root/tests/golden/$format
[ ! -e "$golden" ] || { echo "$golden exists: released archives are never changed" >&2; exit 1; }

# The path of the tree is stored, so it is the same wherever this runs.
work=/tmp/golden
mkdir "$work"
trap 'rm -rf "$work"' EXIT
mkdir "$work/home" "$work/out"
export HOME="$work/home" TZ=UTC LC_ALL=C.UTF-8
unset XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME
cd "$work"
printf 'a golden password\n' >out/pass

first() {
    mkdir -p tree/d/deep tree/gone tree/moved
    echo one >tree/a
    ln tree/a tree/d/linked
    ln -s ../a tree/d/symlink
    mkfifo tree/fifo
    : >tree/empty
    yes 'a line that compresses well' | head -c 2500000 >tree/frames
    head -c 9000 /dev/urandom >tree/d/deep/random
    truncate -s 3M tree/sparse
    printf end | dd of=tree/sparse bs=1 seek=1500000 conv=notrunc status=none
    printf x >"tree/$(printf 'new\nline \377')"
    echo x >tree/gone/x
    echo y >tree/moved/y
    setfattr -n user.binary -v 0x00ff0a3d tree/a
    setfacl -m u:77:r tree/empty
    chmod 4711 tree/empty
    touch -d '1960-01-02 03:04:05.123456789 UTC' tree/empty
    chmod 700 tree/d
}
second() {
    echo two >tree/new
    echo changed >>tree/a
    rm -r tree/gone
    mv tree/moved tree/d/moved
    rm tree/fifo
    mkdir tree/fifo
}
third() {
    rm -r tree/d/deep tree/new
    echo back >tree/gone
    ln tree/frames tree/frames-too
    chmod 750 tree/d
}

level=0
for change in first second third; do
    "$change"
    while read -r name options; do
        # shellcheck disable=SC2086 # a list of words
        "$freezer" backup tree --name golden --host host --to "local:$work/out/$name" --quiet $options
    done <<END
gzip --compression gzip --max-segment-size 4K
zstd --compression zstd
encrypted --compression gzip --encrypt-pass-file out/pass
compat --compression gzip --encrypt-pass-file out/pass --compat
END
    "$root/tests/tools/lister.py" list tree >"out/level$level.jsonl"
    level=$((level + 1))
done
cp -r out "$golden"
du -sh "$golden"
