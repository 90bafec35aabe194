#!/bin/bash
# A whole OpenStack Swift on loopback: proxy, account, container and object server, memcached; one replica.
#
#   swift.sh up DIR       starts it (again); DIR/env then says how to log in
#   swift.sh down DIR     stops it; what it stored stays in DIR/data
#
# Options for `up`, from the environment:
#   KEYSTONE=DIR          logins by this running keystone.sh, in whose catalogue it is entered; else by tempauth, with S3
#   TOKEN_LIFE=SECONDS    how long a login of tempauth lasts (a day)
#   SIZE=64M              stores on a file system of that size (needs root and loop devices)
#   MAX_FILE_SIZE=BYTES   the largest object
#   MANIFEST_SEGMENTS=N   entries of the longest static manifest (1000)
. "$(dirname "$0")/common.sh"

small_disk() {
    mountpoint -q "$DIR/data/d1" && return
    [ -f "$DIR/disk" ] || { truncate -s "$SIZE" "$DIR/disk"; mkfs.ext4 -q -m 0 -I 512 "$DIR/disk"; }
    mount -o loop "$DIR/disk" "$DIR/data/d1"
}

if [ "$ACTION" = down ]; then
    stop_all
    ! mountpoint -q "$DIR/data/d1" || umount "$DIR/data/d1"
    exit
fi
[ "$ACTION" = up ] || usage
need swift-proxy-server swift-object-server swift-ring-builder memcached
mkdir -p "$DIR/data/d1"
[ -z "${SIZE:-}" ] || small_disk

PROXY=$(port proxy) MEMCACHED=$(port memcached)
PYTHON=/usr/bin/python3 # of the distribution, which has Swift's modules
# By default servers give each other half a second to answer, which a machine that is busy with tests may need.
PATIENCE="conn_timeout = 20
node_timeout = 60"

cat >"$DIR/swift.conf" <<CONF
[swift-hash]
swift_hash_path_suffix = freezer
[storage-policy:0]
name = one
default = yes
[swift-constraints]
max_file_size = ${MAX_FILE_SIZE:-5368709122}
CONF

daemon() { # daemon NAME: starts the program swift-NAME-server
    start "$1" $PYTHON "$(cd "$(dirname "$0")" && pwd)/swift_daemon.py" "$DIR/swift.conf" \
        "$(command -v "swift-$1-server")" "$DIR/$1.conf" --verbose
}

# A ring with one device, and the server that it names.
storage_server() {
    local name=$1 port
    port=$(port "$name")
    if [ ! -f "$DIR/$name.ring.gz" ]; then
        (
            cd "$DIR"
            rm -f "$name.builder"
            swift-ring-builder "$name.builder" create 2 1 0
            swift-ring-builder "$name.builder" add "r1z1-127.0.0.1:$port/d1" 1
            swift-ring-builder "$name.builder" rebalance
        ) >"$DIR/log/$name.ring"
    fi
    cat >"$DIR/$name.conf" <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
workers = 0
user = $(id -un)
swift_dir = $DIR
devices = $DIR/data
mount_check = false
disable_fallocate = true
db_preallocation = off
fallocate_reserve = 0
log_level = WARNING
[pipeline:main]
pipeline = $name-server
[app:$name-server]
use = egg:swift#$name
$PATIENCE
# By default a listing goes without what couldn't be entered in it within a second.
container_update_timeout = 60
CONF
    daemon "$name"
}

# The part of the proxy's pipeline and its filters that tell who somebody is.
authentication() {
    if [ -n "${KEYSTONE:-}" ]; then
        cat "$KEYSTONE/authtoken"
        cat <<CONF
delay_auth_decision = true
memcached_servers = 127.0.0.1:$MEMCACHED
include_service_catalog = false
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
CONF
        return
    fi
    cat <<CONF
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_reader = reading
user_test_writer = writing
user_other_tester = testing .admin
token_life = ${TOKEN_LIFE:-86400}
storage_url_scheme = default
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
dns_compliant_bucket_names = false
auth_pipeline_check = false
CONF
}

who="s3api tempauth"
[ -z "${KEYSTONE:-}" ] || who="authtoken keystoneauth"
{
    cat <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $PROXY
workers = 0
user = $(id -un)
swift_dir = $DIR
log_level = INFO
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl $who copy container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
$PATIENCE
# By default a node that fails is left alone for a minute, and there is only one.
error_suppression_interval = 1
error_suppression_limit = 100
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$MEMCACHED
memcache_max_connections = 100
connect_timeout = 20
pool_timeout = 20
io_timeout = 20
error_suppression_interval = 1
error_suppression_limit = 100
[filter:slo]
use = egg:swift#slo
max_manifest_segments = ${MANIFEST_SEGMENTS:-1000}
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
CONF
    for filter in catch_errors gatekeeper healthcheck proxy-logging listing_formats bulk tempurl copy container-quotas \
        account-quotas dlo symlink; do
        echo "[filter:$filter]"
        echo "use = egg:swift#${filter//-/_}"
    done
    authentication
} >"$DIR/proxy.conf"
chmod 600 "$DIR/proxy.conf"

start memcached memcached -l 127.0.0.1 -p "$MEMCACHED" -U 0 -m 32 -u "$(id -un)"
for name in object container account; do storage_server "$name"; done
daemon proxy
for name in object container account memcached; do await 60 listens "$(port "$name")"; done
await 60 curl --fail --silent --max-time 5 "http://127.0.0.1:$PROXY/healthcheck"

if [ -n "${KEYSTONE:-}" ]; then
    KEYSTONE=$(cd "$KEYSTONE" && pwd)
    "$(dirname "$0")/keystone.sh" endpoint "$KEYSTONE" object-store "http://127.0.0.1:$PROXY/v1/AUTH_%(tenant_id)s"
    { grep "^OS_" "$KEYSTONE/env"; echo "KEYSTONE=$KEYSTONE"; echo "SWIFT=http://127.0.0.1:$PROXY"; } | publish
else
    publish <<ENV
SWIFT=http://127.0.0.1:$PROXY
ST_AUTH=http://127.0.0.1:$PROXY/auth/v1.0
ST_USER=test:tester
ST_KEY=testing
S3_ENDPOINT=http://127.0.0.1:$PROXY
S3_REGION=us-east-1
S3_ACCESS_KEY=test:tester
S3_SECRET_KEY=testing
ENV
fi
