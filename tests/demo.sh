#!/bin/sh
# Shows freezer at work on a real tree: level 0, changes, level 1, restore, and a comparison by rsync, which knows
# nothing of freezer. `make demo` sets up and builds first.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
freezer=${FREEZER_BIN:-$root/target/release/freezer}
work=$(mktemp -d "${TMPDIR:-/tmp}/freezer-demo.XXXXXX")
trap 'rm -rf "$work"' EXIT
export HOME="$work/home"
mkdir "$HOME"
cd "$work"

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() {
    printf '\033[2m$ %s\033[0m\n' "$*" | sed "s|$freezer|freezer|"
    "$@"
}
[ -t 1 ] || title() { printf '\n== %s\n' "$*"; }
[ -t 1 ] || run() {
    printf '$ %s\n' "$*" | sed "s|$freezer|freezer|"
    "$@"
}

title "A real tree: a copy of /usr/include, with a password file"
mkdir tree
cp -a /usr/include/. tree/
find tree | wc -l | xargs printf '%s entries, '
du -sh tree | cut -f1
printf 'correct horse battery staple\n' >pass
chmod 600 pass

title "Level 0: everything, compressed on all cores, encrypted"
run "$freezer" backup tree --name demo --host here --to "local:$work/store" --encrypt-pass-file pass

title "The tree changes: a file edited, one added, one deleted, a directory renamed, a hard link made"
file=$(find tree -maxdepth 1 -type f -size -100k | sort | head -n 1)
directory=$(find tree -mindepth 1 -maxdepth 1 -type d | sort | head -n 1)
victim=$(find tree -maxdepth 1 -type f | sort | tail -n 1)
echo '/* edited */' >>"$file"
echo 'a new file' >tree/new-file
rm "$victim"
mv "$directory" tree/renamed
ln "$file" tree/hard-link
printf 'edited %s, added tree/new-file, deleted %s, renamed %s, linked tree/hard-link\n' "$file" "$victim" "$directory"

title "Level 1: only what changed"
run "$freezer" backup tree --name demo --host here --to "local:$work/store" --encrypt-pass-file pass

title "What is stored"
run "$freezer" list --from "local:$work/store"
du -sh store | sed 's/\t.*/ on disk/'

title "One file to standard output, without reading the rest"
run "$freezer" dump --name demo --host here --from "local:$work/store" --encrypt-pass-file pass new-file

title "Everything is verified"
run "$freezer" check --from "local:$work/store" --encrypt-pass-file pass --read-data

title "Restored, as it is now"
run "$freezer" restore --name demo --host here --from "local:$work/store" --encrypt-pass-file pass --target restored

title "Compared by rsync: contents, modes, owners, times, hard links, ACLs, xattrs"
differences=$(rsync -naicAXHS --delete tree/ restored/)
if [ -n "$differences" ]; then
    printf '%s\n' "$differences"
    echo "DIFFERENT"
    exit 1
fi
echo "rsync finds no difference between tree and restored."

title "Restored without freezer: the commands it prints, run by a shell"
mkdir by-hand
"$freezer" list --recovery --name demo --host here --from "local:$work/store" >recover.sh
cat recover.sh
(cd by-hand && PASS=../pass bash ../recover.sh)
differences=$(rsync -naicAXHS --delete tree/ by-hand/out/)
[ -z "$differences" ] || { printf '%s\nDIFFERENT\n' "$differences"; exit 1; }
echo "rsync finds no difference here either."

printf '\nDone. Everything lay in %s, which is removed now.\n' "$work"
