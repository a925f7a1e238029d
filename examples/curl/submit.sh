#!/bin/sh
# submit.sh s3://bucket/in/film.mp4 s3://bucket/out/: transcode one file, wait, and print its record.
set -eu
api() { curl --silent --show-error --fail-with-body -H "Authorization: Bearer ${ELASTICRECODE_TOKEN:-}" "$ELASTICRECODE_URL/api/v1$@"; }
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)'"$1"')'; }

job=$(api /jobs -H 'Content-Type: application/json' -d '{"userid": "'"${ELASTICRECODE_USER:-me}"'", "input": "'"$1"'",
  "output": "'"$2"'", "priority": 50, "profile": {"preset": "h264-360p"}}' | field '[0]["jobid"]')
while state=$(api "/jobs/$job/status" | field '["state"]'); [ "$state" != finished ]; do
  [ "$state" != failed ] && [ "$state" != cancelled ] || break
  sleep 1
done
api "/jobs/$job/status"
[ "$state" = finished ]
