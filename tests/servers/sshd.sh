#!/bin/bash
# An OpenSSH server on loopback. Needs root: it logs in users that this script makes.
#
#   sshd.sh up DIR        starts it (again); DIR/env then says how to log in
#   sshd.sh cut DIR       ends all connections at once; the server stays
#   sshd.sh crash DIR     the same, and the server is gone too
#   sshd.sh down DIR      stops it and ends its connections
#
# Options for `up`, from the environment:
#   SIZE=32M              the account in the chroot stores on a file system of that size (needs loop devices)
#   OTHER_KEYS=1          shows other host keys than those in DIR/known_hosts
#   PASSWORDS=no          takes keys only
#
# Users: freezertest (keys, or the password in DIR/env) and freezerjail (the same, by SFTP only, shut in a chroot whose one
# writable folder is /upload). Keys: DIR/user_KIND in OpenSSH's format and PEM, and one with a passphrase.
. "$(dirname "$0")/common.sh"

# Every folder above a chroot must be root's own and writable for nobody else, which temporary folders are not.
JAIL=/srv/freezer-test-sshd$(printf %s "$DIR" | tr / -)
SECRET=rosebud-4711

# Connections live in processes of their own, children of the server, each with a child that has the user's rights.
end_connections() {
    local server connection
    server=$(cat "$DIR/pids/sshd" 2>/dev/null) || return 0
    for connection in $(pgrep -P "$server"); do
        pkill -KILL -P "$connection" || true
        kill -KILL "$connection" 2>/dev/null || true
    done
}
if [ "$ACTION" = cut ]; then
    end_connections
    exit
fi
if [ "$ACTION" = crash ]; then
    # Stopped first, so that it accepts nothing between the two.
    kill -STOP "$(cat "$DIR/pids/sshd")"
    end_connections
    kill -KILL "$(cat "$DIR/pids/sshd")"
    exit
fi
if [ "$ACTION" = down ]; then
    end_connections
    stop_all
    # Some child may not have ended yet.
    ! mountpoint -q "$JAIL/upload" || umount "$JAIL/upload" 2>/dev/null || umount -l "$JAIL/upload"
    rm -rf "$JAIL"
    exit
fi
[ "$ACTION" = up ] || usage
need sshd ssh-keygen chpasswd
[ "$(id -u)" = 0 ] || { echo "sshd.sh: needs root" >&2; exit 3; }
PORT=$(port sshd)
mkdir -p /run/sshd "$JAIL/upload"
chmod 755 "$DIR" /run/sshd "$JAIL"

key() { # key FILE OPTION...: makes a key unless it is there
    local file=$DIR/$1
    shift
    [ -f "$file" ] || ssh-keygen -q -C "$(basename "$file")" -f "$file" "$@"
}
for kind in ed25519 ecdsa rsa; do
    key "host_$kind" -t $kind -N ''
    key "user_$kind" -t $kind -N ''
done
[ -z "${OTHER_KEYS:-}" ] || for kind in ed25519 ecdsa rsa; do key "other_$kind" -t $kind -N ''; done
key user_rsa_pem -t rsa -m PEM -N ''
key user_ecdsa_pem -t ecdsa -m PEM -N ''
key user_ed25519_locked -t ed25519 -N "$SECRET"
key stranger -t ed25519 -N ''
cat "$DIR"/user_*.pub >"$DIR/authorized_keys"
chmod 644 "$DIR/authorized_keys"
if [ ! -f "$DIR/known_hosts" ]; then
    for kind in ed25519 ecdsa rsa; do
        echo "[127.0.0.1]:$PORT $(cut -d' ' -f1,2 "$DIR/host_$kind.pub")"
    done >"$DIR/known_hosts"
fi

# Several instances may come up at once; the users are the same for all.
(
    flock 9
    for user in freezertest freezerjail; do
        id $user >/dev/null 2>&1 || useradd -m -s /bin/bash $user
        echo "$user:$SECRET" | chpasswd
    done
) 9>/run/lock/freezer-test-users
if mountpoint -q "$JAIL/upload"; then
    : # It came up before.
elif [ -n "${SIZE:-}" ]; then
    [ -f "$DIR/disk" ] || { truncate -s "$SIZE" "$DIR/disk"; mkfs.ext4 -q -m 0 "$DIR/disk"; }
    mount -o loop "$DIR/disk" "$JAIL/upload"
else
    # Waiting for the disk is much of what a small write takes. Where nothing can be mounted, that is so.
    mount -t tmpfs freezer-test "$JAIL/upload" 2>/dev/null || true
fi
chown freezerjail: "$JAIL/upload"

shown=host
[ -z "${OTHER_KEYS:-}" ] || shown=other
cat >"$DIR/sshd_config" <<CONF
Port $PORT
ListenAddress 127.0.0.1
HostKey $DIR/${shown}_ed25519
HostKey $DIR/${shown}_ecdsa
HostKey $DIR/${shown}_rsa
PidFile none
AuthorizedKeysFile $DIR/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication ${PASSWORDS:-yes}
KbdInteractiveAuthentication no
AllowUsers freezertest freezerjail
Subsystem sftp internal-sftp
MaxStartups 100:30:200
LogLevel VERBOSE
Match User freezerjail
    ChrootDirectory $JAIL
    ForceCommand internal-sftp
    AllowTcpForwarding no
CONF
start sshd /usr/sbin/sshd -D -e -f "$DIR/sshd_config"
await 20 listens "$PORT"
publish <<ENV
HOST=127.0.0.1
PORT=$PORT
USER=freezertest
JAILED=freezerjail
SECRET=$SECRET
JAIL=$JAIL
ENV
