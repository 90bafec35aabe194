#!/bin/bash
# A Keystone (identity v3) on loopback: sqlite, fernet tokens.
#
#   keystone.sh up DIR                      starts it (again)
#   keystone.sh down DIR                    stops it
#   keystone.sh endpoint DIR TYPE ADDRESS   enters a service into its catalogue, in place of an earlier one
#
# Users with the password NAME-secret: demo (member of project demo), reader (reader of demo), other (member of other),
# service. DIR then holds demo.osrc, reader.osrc, other.osrc, credential.osrc (an application credential of demo),
# clouds.yaml, and `authtoken`, the filter of a service's pipeline. Option for `up`: TOKEN_LIFE=SECONDS (a day).
. "$(dirname "$0")/common.sh"

here=$(cd "$(dirname "$0")" && pwd)
PYTHON=/usr/bin/python3 # of the distribution, which has Keystone's modules

case $ACTION in
down)
    stop_all
    exit
    ;;
endpoint)
    exec $PYTHON "$here/keystone_admin.py" "$(sed -n 's/^OS_AUTH_URL=//p' "$DIR/env")" endpoint "$3" "$4"
    ;;
up) ;;
*) usage ;;
esac
need keystone-manage uwsgi

PORT=$(port keystone)
URL=http://127.0.0.1:$PORT/v3
mkdir -p "$DIR/fernet" "$DIR/credential"
chmod 700 "$DIR/fernet" "$DIR/credential"
cat >"$DIR/keystone.conf" <<CONF
[DEFAULT]
use_stderr = true
public_endpoint = http://127.0.0.1:$PORT
[database]
connection = sqlite:///$DIR/keystone.db
sqlite_synchronous = false
[token]
provider = fernet
expiration = ${TOKEN_LIFE:-86400}
allow_expired_window = 0
[fernet_tokens]
key_repository = $DIR/fernet
[fernet_receipts]
key_repository = $DIR/fernet
[credential]
key_repository = $DIR/credential
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
CONF
manage() { $PYTHON "$(command -v keystone-manage)" --config-file "$DIR/keystone.conf" "$@" >>"$DIR/log/manage" 2>&1; }

# A database and keys; made anew unless an earlier call got to its end.
if [ ! -f "$DIR/filled" ]; then
    stop keystone
    rm -f "$DIR"/keystone.db*
    for file in fernet/0 fernet/1 credential/0 credential/1; do
        (umask 077 && head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' >"$DIR/$file")
    done
    manage db_sync
    # Readers don't make writers wait.
    $PYTHON -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("pragma journal_mode=wal")' "$DIR/keystone.db"
    manage bootstrap --bootstrap-password secret --bootstrap-region-id RegionOne \
        --bootstrap-admin-url "$URL" --bootstrap-public-url "$URL" --bootstrap-internal-url "$URL"
fi

cat >"$DIR/application.py" <<PY
import sys
sys.argv = ["keystone", "--config-file", "$DIR/keystone.conf"]
from keystone.server.wsgi import initialize_public_application
application = initialize_public_application()
PY
OS_KEYSTONE_CONFIG_DIR=$DIR OS_KEYSTONE_CONFIG_FILES=$DIR/keystone.conf \
    start keystone uwsgi --plugin python3 --http-socket "127.0.0.1:$PORT" --wsgi-file "$DIR/application.py" \
    --master --processes 1 --enable-threads --lazy-apps --need-app --die-on-term --buffer-size 65535 \
    --add-header "Connection: close"
await 60 curl --silent --max-time 5 "$URL"

cat >"$DIR/authtoken" <<CONF
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = $URL
auth_url = http://127.0.0.1:$PORT
auth_type = password
username = service
password = service-secret
project_name = service
user_domain_name = Default
project_domain_name = Default
CONF
chmod 600 "$DIR/authtoken"
[ -f "$DIR/filled" ] || $PYTHON "$here/keystone_admin.py" "$URL" users "$DIR"
touch "$DIR/filled"
publish <<ENV
OS_AUTH_URL=$URL
OS_REGION_NAME=RegionOne
OS_USERNAME=demo
OS_PASSWORD=demo-secret
OS_PROJECT_NAME=demo
OS_USER_DOMAIN_NAME=Default
OS_PROJECT_DOMAIN_NAME=Default
ENV
