#!/bin/sh
# Installs what the tests and the demo run beside freezer; with the word `demo` only what the build and the demo need, with the
# word `bench` the benchmark's peers instead. `make` calls it; it may be called again.
#
# The original's agent goes into .venv. Where it can't be installed, this says so and goes on: the tests that need it
# are then left out and counted as skipped (tests/run.sh).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

say() { echo "setup: $*" >&2; }

install_packages() {
    command -v apt-get >/dev/null || { say "please install: $1"; return 1; }
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    say "installing $1"
    apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq"
    $apt update && $apt install -y --no-install-recommends $1 >/dev/null # unquoted: a list of words
}

if [ "${1:-}" = bench ]; then
    for pair in restic:restic borg:borgbackup rclone:rclone; do
        command -v "${pair%%:*}" >/dev/null || install_packages "${pair##*:}" ||
            say "COULD NOT INSTALL ${pair##*:}: the benchmark has no rows against it"
    done
    exit
fi

# command → Debian package
needed="
    openssl:openssl gzip:gzip bzip2:bzip2 xz:xz-utils zstd:zstd tar:tar rsync:rsync strace:strace python3:python3
    setfacl:acl setfattr:attr setcap:libcap2-bin setpriv:util-linux unshare:util-linux ip:iproute2 cmp:diffutils cc:gcc make:make
    pkg-config:pkg-config mkfs.btrfs:btrfs-progs mkfs.ext4:e2fsprogs minisign:minisign script:bsdutils
"
packages=
for pair in $needed; do
    command -v "${pair%%:*}" >/dev/null || [ -x "/usr/sbin/${pair%%:*}" ] || packages="$packages ${pair##*:}"
done
# The SSH client is built against OpenSSL.
pkg-config --exists openssl 2>/dev/null || packages="$packages libssl-dev"
# It is loaded when a snapshot of btrfs is made.
/sbin/ldconfig -p | grep -q libbtrfsutil || packages="$packages libbtrfsutil1"
python3 -c 'import venv, ensurepip' 2>/dev/null || packages="$packages python3-venv"
[ -z "$packages" ] || install_packages "$packages"
[ "${1:-}" != demo ] || exit 0

# Servers that storages are tested against (tests/servers); the tests of those that can't be had are left out.
# Maintainer scripts must not start daemons that listen to the world: tests start their own.
keep_daemons_down() {
    [ "$(id -u)" = 0 ] && [ ! -e /usr/sbin/policy-rc.d ] || return 0
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
}
# program → packages that bring it and what its script needs
servers="
    swift-proxy-server:swift-proxy,swift-account,swift-container,swift-object,memcached,python3-swiftclient,curl,e2fsprogs
    sshd:openssh-server,openssh-client,e2fsprogs,util-linux
    mariadbd:mariadb-server,mariadb-client,mariadb-backup
    pg_createcluster:postgresql,postgresql-client
    keystone-manage:keystone,uwsgi-core,uwsgi-plugin-python3,python3-keystonemiddleware,python3-openstackclient
"
# A kernel that has device-mapper, and what is done in there.
servers="$servers
    linux.uml:user-mode-linux,lvm2,thin-provisioning-tools,xfsprogs,e2fsprogs,kmod
"
for pair in $servers; do
    [ -x "/usr/bin/${pair%%:*}" ] || [ -x "/usr/sbin/${pair%%:*}" ] || {
        keep_daemons_down
        install_packages "$(printf %s "${pair##*:}" | tr , ' ')"
    } || say "COULD NOT INSTALL ${pair%%:*}: the tests that need it will be skipped"
done

if ! cargo nextest --version >/dev/null 2>&1; then
    say "building cargo-nextest, the test runner (some minutes, once)"
    cargo install --quiet --locked cargo-nextest
fi

stamp=.venv/agent-requirements.txt
if ! cmp -s tests/agent-requirements.txt "$stamp"; then
    say "installing the original's agent into .venv"
    rm -rf .venv
    if python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r tests/agent-requirements.txt &&
        .venv/bin/freezer-agent --version >/dev/null 2>&1; then
        cp tests/agent-requirements.txt "$stamp"
    else
        say "COULD NOT INSTALL the original's agent: the tests of tests/tests/agent.rs will be skipped"
    fi
fi

# environment NAME WORDS PROGRAM: a virtual environment with what tests/NAME-requirements.txt lists, made again when that changes.
environment() {
    list=tests/$1-requirements.txt folder=.venv-$1
    cmp -s "$list" "$folder/${list##*/}" && return
    say "installing $2 into $folder"
    rm -rf "$folder"
    if python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$list" &&
        [ -x "$folder/bin/$3" ]; then
        cp "$list" "$folder/${list##*/}"
    else
        say "COULD NOT INSTALL $2: the tests that need it will be skipped"
    fi
}
# A service in memory for the tests of storage s3, a server for those of mode mongo, each in an environment of its own.
environment s3 "an S3 service" moto_server
environment mongo "a MongoDB server" secantusd-py

if [ ! -x .mysql/bin/mysqldump ]; then
    say "unpacking MySQL into .mysql"
    rm -rf .mysql
    tests/servers/mysql-setup.sh .mysql >/dev/null 2>&1 || {
        rm -rf .mysql
        say "COULD NOT UNPACK MySQL: the tests that need it will be skipped"
    }
fi
