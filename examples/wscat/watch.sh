#!/bin/sh
# watch.sh [SECONDS]: print each event of your jobs as a line of JSON, the latest hundred first. `npm install wscat` brings wscat.
set -eu
ws=$(printf %s "$ELASTICRECODE_URL" | sed 's/^http/ws/')
sleep "${1:-3600}" | wscat --no-color -H "Authorization: Bearer ${ELASTICRECODE_TOKEN:-}" \
  -c "$ws/ws?userID=${ELASTICRECODE_USER:-me}&lastMod=0"
