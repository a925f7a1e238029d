#!/bin/sh
# library.sh s3://bucket/masters/ s3://bucket/small/: transcode all films below a prefix, and say what went wrong with which.
set -eu
api() { curl --silent --show-error --fail-with-body -H "Authorization: Bearer ${ELASTICRECODE_TOKEN:-}" "$ELASTICRECODE_URL/api/v1$@"; }
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)'"$1"')'; }
user=${ELASTICRECODE_USER:-me}

batch=$(api /batches -H 'Content-Type: application/json' -d '{"userid": "'"$user"'", "prefix": "'"$1"'", "suffixes": [".mp4", ".mov"],
  "output": "'"$2"'", "priority": 10, "profile": {"preset": "h264-360p"}}' | field '["batchID"]')
while state=$(api "/batches/$batch" | field '["state"]'); [ "$state" = expanding ] || [ "$state" = running ]; do
  sleep 2
done
api "/batches/$batch" | field '["failures"]'
api "/jobs?userID=$user&batchID=$batch&state=failed"
[ "$(api "/batches/$batch" | field '.get("failures")')" = '{}' ]
