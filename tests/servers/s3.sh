#!/bin/bash
# An S3 service on loopback, in memory: signatures are checked, and each access key may do what its policy says.
#
#   s3.sh up DIR       starts it (again); DIR/env then says where it is and which keys there are
#   s3.sh down DIR     stops it, and what it stored is gone
#
# It is moto's server, from the virtual environment that tests/setup.sh makes. The service of swift.sh is another one, on
# disk, which knows neither conditional writes nor locks.
. "$(dirname "$0")/common.sh"

if [ "$ACTION" = down ]; then
    stop_all
    exit
fi
[ "$ACTION" = up ] || usage
VENV=$(cd "$(dirname "$0")/../.." && pwd)/.venv-s3
need "$VENV/bin/moto_server"
PORT=$(port s3)

running s3 && exit
start s3 env -u AWS_PROFILE "$VENV/bin/moto_server" -H 127.0.0.1 -p "$PORT"
await 60 listens "$PORT"
"$VENV/bin/python" "$(dirname "$0")/s3_keys.py" "http://127.0.0.1:$PORT" | publish
