#!/usr/bin/env bash
# Runs a command in a kernel of its own, for what this machine's kernel may lack: device-mapper, and so LVM.
#
#   uml-run.sh DIR [-m MEMORY] [-d SIZE]... [-t SECONDS] -- COMMAND [ARGUMENT]...
#
# The kernel is Debian's user-mode Linux; its root file system is this machine's own, so programs and files are the same in
# there. Each -d is an empty disk: /dev/ubda, /dev/ubdb and so on. /run and /etc/lvm are fresh and its own. Prints what
# the command prints and ends with its exit code; 3 if the kernel isn't installed, 124 if it took longer than SECONDS.
set -euo pipefail
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

[ $# -ge 2 ] || { sed -n 4p "$0" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
memory=512M
seconds=300
disks=()
while [ $# -gt 0 ]; do
    case $1 in
    -m) memory=$2; shift 2 ;;
    -d) disks+=("$2"); shift 2 ;;
    -t) seconds=$2; shift 2 ;;
    --) shift; break ;;
    *) break ;;
    esac
done

for program in linux.uml modprobe lvm; do
    command -v "$program" >/dev/null && continue
    echo "uml-run.sh: there is no $program; tests/setup.sh installs it" >&2
    exit 3
done
modules=$(ls -d /usr/lib/uml/modules/* | head -n 1)

# The command, its arguments kept apart, and the place to run it in.
{
    printf 'cd %q\n' "$PWD"
    printf '%q ' "$@"
    echo
} >"$dir/command"

cat >"$dir/lvm.conf" <<'CONF'
# Without udev LVM makes the device nodes itself.
activation { udev_sync = 0 udev_rules = 0 }
devices { dir = "/dev" scan = [ "/dev" ] obtain_device_list_from_udev = 0 use_devicesfile = 0 }
backup { backup = 0 archive = 0 }
CONF

cat >"$dir/init" <<INIT
#!/usr/bin/env bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
cp "$dir/lvm.conf" "$dir/command" /dev/
mount -t tmpfs run /run
mount -t tmpfs lvm /etc/lvm
mkdir -p /dev/pts /dev/shm /run/lock/lvm /run/lvm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sfn /proc/self/fd /dev/fd
cp /dev/lvm.conf /etc/lvm/lvm.conf
# modprobe looks below lib/modules of a directory, which needn't be the machine's own.
mkdir -p /run/modules/lib/modules
ln -sfn "$modules" "/run/modules/lib/modules/\$(uname -r)"
for module in dm-mod dm-snapshot dm-thin-pool loop; do
    modprobe -d /run/modules "\$module" || echo "no module \$module" >&2
done
ip link set lo up 2>/dev/null
export IN_UML=1 DM_DISABLE_UDEV=1
bash /dev/command >"$dir/output" 2>&1 </dev/null
echo \$? >"$dir/status"
sync
halt -f
INIT
chmod +x "$dir/init"
rm -f "$dir/output" "$dir/status"

arguments=()
number=0
for size in ${disks[@]+"${disks[@]}"}; do
    rm -f "$dir/disk$number"
    truncate -s "$size" "$dir/disk$number"
    arguments+=("ubd$number=$dir/disk$number")
    number=$((number + 1))
done

code=0
# Sockets of the kernel's console and memory go where short names fit.
[ "$(uname -m)" != x86_64 ] || cc -O1 -shared -fPIC -o "$dir/xstate.so" "$(dirname "$0")/uml_xstate.c"
HOME=$dir TMPDIR=${UML_MEMORY_DIR:-/tmp} LD_PRELOAD=${dir:+$dir/xstate.so} timeout -k 5 "$seconds" linux.uml "mem=$memory" ${arguments[@]+"${arguments[@]}"} \
    root=/dev/root rootfstype=hostfs hostfs=/ rw quiet "init=$dir/init" con=null con0=null,fd:1 \
    "umid=freezer-$$" >"$dir/console" 2>&1 </dev/null || code=$?
[ ! -f "$dir/output" ] || cat "$dir/output"
[ $code != 124 ] || { echo "uml-run.sh: took longer than $seconds s" >&2; exit 124; }
if [ ! -s "$dir/status" ]; then
    echo "uml-run.sh: the kernel ended early:" >&2
    tail -n 30 "$dir/console" >&2
    exit 125
fi
exit "$(cat "$dir/status")"
