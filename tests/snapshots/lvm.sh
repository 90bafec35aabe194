#!/usr/bin/env bash
# Cases of snapshots by LVM, run in a kernel of their own: uml-run.sh DIR -d 1500M -- lvm.sh FREEZER CASE...
#
# A case prints one line, `ok CASE` or `FAILED CASE`, with what went before it. The disk /dev/ubda is theirs.
set -u
freezer=$1
shift

root=/run/t
export HOME=$root/home XDG_STATE_HOME=$root/state XDG_CACHE_HOME=$root/cache LC_ALL=C.UTF-8 TZ=UTC
mkdir -p "$HOME" "$XDG_CACHE_HOME" $root/{thick,xfs,thin,bind}
snapshots=$XDG_STATE_HOME/freezer/snapshots

volumes() {
    lvm pvcreate -q /dev/ubda && lvm vgcreate -q my-vg /dev/ubda &&
        lvm lvcreate -q -y -L 128M -n data-1 my-vg && mkfs.ext4 -q /dev/my-vg/data-1 && mount /dev/my-vg/data-1 $root/thick &&
        lvm lvcreate -q -y -L 320M -n logs my-vg && mkfs.xfs -q /dev/my-vg/logs && mount /dev/my-vg/logs $root/xfs &&
        lvm lvcreate -q -y --type thin-pool -L 256M -n pool my-vg &&
        lvm lvcreate -q -y -V 128M -n thin --thinpool pool my-vg && mkfs.ext4 -q /dev/my-vg/thin && mount /dev/my-vg/thin $root/thin
} >$root/setup 2>&1 || { cat $root/setup; exit 1; }
volumes

tree() { # tree DIR: some files, directories and links below DIR/data
    rm -rf "$1/data"
    mkdir -p "$1/data/a/b" "$1/data/empty"
    for number in 1 2 3 4 5 6; do head -c 1000000 /dev/urandom >"$1/data/a/$number"; done
    echo one >"$1/data/a/b/file"
    ln "$1/data/a/1" "$1/data/a/b/hard"
    ln -s ../a "$1/data/link"
    sync
}

spoil() { # spoil DIR: nothing below DIR/data stays as it was
    for number in 1 2 3; do head -c 1000000 /dev/urandom | dd of="$1/data/a/$number" conv=notrunc status=none; done
    rm "$1/data/a/5" "$1/data/a/b/file"
    mv "$1/data/a/6" "$1/data/renamed"
    echo new >"$1/data/new"
    chmod 700 "$1/data/empty"
    sync
}

fail() { echo "  $*"; return 1; }

# made: the snapshots that bear our mark, with their attributes
made() { lvm lvs --noheadings -o lv_name,lv_attr,lv_tags | grep freezer_; }

gone() { # gone: nothing of any snapshot is left
    ! made || fail "a snapshot is left" || return
    ! grep -q "$snapshots\|snap-mount" /proc/mounts || fail "a mount is left" || return
    [ -z "$(ls -A "$snapshots")" ] || fail "left in $snapshots: $(ls -A "$snapshots")"
}

backup() { # backup NAME PATH OPTION...
    local name=$1 path=$2
    shift 2
    "$freezer" backup "$path" --name "$name" --host h --to local:$root/store --snapshot "$@"
}

# start NAME PATH OPTION...: begins a backup and stops it once its snapshot is mounted
start() {
    # In place of the shell, so that signals reach it.
    (name=$1 path=$2 && shift 2 && exec "$freezer" backup "$path" --name "$name" --host h --to local:$root/store --snapshot "$@") \
        >$root/told 2>&1 &
    pid=$!
    for _ in $(seq 600); do
        if grep -q "$snapshots\|snap-mount" /proc/mounts; then
            kill -STOP $pid
            return
        fi
        kill -0 $pid 2>/dev/null || break
        sleep 0.05
    done
    cat $root/told
    fail "no snapshot came"
}

ended() { # ended CODE: the backup goes on and ends with it
    kill -CONT $pid
    local code=0
    wait $pid || code=$?
    [ $code = "$1" ] || { cat $root/told; fail "it ended with $code, not $1"; }
}

restored() { # restored NAME WANTED
    rm -rf $root/out
    "$freezer" restore --name "$1" --host h --from local:$root/store --target $root/out --quiet &&
        diff -r --no-dereference "$2" $root/out &&
        diff <(cd "$2" && find . -printf '%p %m %n %y %T@\n' | sort) <(cd $root/out && find . -printf '%p %m %n %y %T@\n' | sort)
}

# moment NAME DIR OPTION...: what is written after the snapshot isn't in the backup
moment() {
    local name=$1 dir=$2
    shift 2
    tree "$dir" && rm -rf $root/wanted && cp -a "$dir/data" $root/wanted &&
        start "$name" "$dir/data" "$@" && spoil "$dir" && ended 0 && restored "$name" $root/wanted && gone
}

case_thick_ext4() { moment thick $root/thick; }
case_thick_xfs() { moment xfs $root/xfs; }
case_thin() { moment thin $root/thin; }

# Nothing changed between two snapshots: mount, device and, for xfs, file system number differ, and no file counts.
case_levels() {
    local dir
    for dir in xfs thin; do
        tree $root/$dir && sleep 0.1 && backup level-$dir $root/$dir/data --quiet &&
            backup level-$dir $root/$dir/data --json >$root/told && gone || return
        python3 - $root/told <<'PY' || return
import json, sys
told = json.load(open(sys.argv[1]))["result"]
counts = told["counts"]
assert (told["level"], counts["new"], counts["changed"], counts["removed"]) == (1, 0, 0, 0), told
PY
        echo more >>$root/$dir/data/a/b/file
        backup level-$dir $root/$dir/data --quiet && restored level-$dir $root/$dir/data || return
    done
}

case_options() {
    tree $root/thick
    mkdir -m 700 -p $root/snap-mount
    start options $root/thick/data --lvm-srcvol /dev/my-vg/data-1 --lvm-volgroup my-vg --lvm-snapname chosen \
        --lvm-snap-perm rw --lvm-snapsize 25%ORIGIN --lvm-dirmount $root/snap-mount || return
    local facts
    facts=$(lvm lvs --noheadings --units m --nosuffix -o lv_attr,lv_size,origin my-vg/chosen -o+seg_size)
    grep -q " $root/snap-mount ext4 rw," /proc/mounts || fail "not writable: $(grep snap-mount /proc/mounts)" || return
    case $facts in *swi-*data-1*36.00*) ;; *) fail "made as $facts" || return ;; esac
    ended 0 && gone && [ -d $root/snap-mount ] || fail "its own directory is gone"
}

# The original's command line of its first era.
case_original() {
    tree $root/thin && ln -sfn "$freezer" $root/freezerc || return
    $root/freezerc --action backup --lvm-auto-snap $root/thin/data -N original --hostname h --storage local \
        --container $root/store --lvm-snapsize 64M --lvm-snap-perm ro >$root/told 2>&1 || { cat $root/told; return 1; }
    ! grep -q "no effect" $root/told || { cat $root/told; return 1; }
    restored original $root/thin/data && gone
}

refused() { # refused CODE WORDS COMMAND...
    local code=0 wanted=$1 words=$2
    shift 2
    "$@" >$root/told 2>&1 || code=$?
    [ $code = "$wanted" ] && grep -q "$words" $root/told || { cat $root/told; fail "ended with $code"; }
}

case_refusals() {
    tree $root/thick
    refused 1 "is on my-vg/data-1, not on --lvm-volgroup other" backup r $root/thick/data --lvm-volgroup other &&
        refused 1 "neither btrfs nor a logical volume" backup r $root/home &&
        lvm lvcreate -q -y -l 100%FREE -n full my-vg >/dev/null 2>&1 &&
        refused 1 "can't make a snapshot of my-vg/data-1" backup r $root/thick/data &&
        lvm lvremove -q -f my-vg/full >/dev/null 2>&1 &&
        refused 1 "lvm-snapsize" backup r $root/thick/data --lvm-snapsize '1G --yes' &&
        gone && ! "$freezer" list --from local:$root/store --name r --host h 2>/dev/null | grep -q r
}

# The path is found through a bind mount of a part of the file system, and through a link.
case_bind() {
    tree $root/thick && mount --bind $root/thick/data $root/bind && ln -sfn $root/bind/a $root/link &&
        backup bind $root/link --quiet && restored bind $root/thick/data/a && umount $root/bind && gone
}

case_killed() {
    tree $root/thin && start killed $root/thin/data && kill -KILL $pid && { wait $pid 2>/dev/null || true; }
    made >/dev/null || fail "nothing was left" || return
    # Another backup of another volume.
    backup other $root/thick/data >$root/told 2>&1 && grep -q "undone, left by a killed run: snapshot lvm my-vg/" $root/told &&
        gone || { cat $root/told; return 1; }
}

case_interrupted() {
    tree $root/thick && start interrupted $root/thick/data && kill -INT $pid && ended 130 && gone
}

case_overflow() {
    tree $root/thick && start overflow $root/thick/data --lvm-snapsize 4M || return
    head -c 60000000 /dev/urandom >$root/thick/more
    sync
    for _ in $(seq 100); do
        case $(made) in *sri-I*) break ;; esac
        sleep 0.1
    done
    ended 1 && rm $root/thick/more && gone && grep -q "can't be trusted\|can't read\|No such file" $root/told &&
        ! "$freezer" list --from local:$root/store --name overflow --host h 2>/dev/null | grep -q overflow
}

# The second Ctrl-C leaves at once; what it leaves, the next run releases.
case_twice_interrupted() {
    tree $root/thin && start twice $root/thin/data && kill -INT $pid && kill -CONT $pid && kill -INT $pid
    wait $pid
    backup thick $root/thick/data >$root/told 2>&1 && gone || { cat $root/told; return 1; }
}

result=0
for name in "$@"; do
    begun=$(date +%s%N)
    if "case_$name"; then
        echo "ok $name ($((($(date +%s%N) - begun) / 1000000)) ms)"
    else
        echo "FAILED $name"
        result=1
    fi
done
exit $result
