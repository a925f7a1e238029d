#!/bin/sh
# gate.sh FILE VMAF: transcode a file with the settings below, score it against the original, and fail below the VMAF.
# Exit status 0: good enough; 3: not; others: `elasticrecode submit --help`.
set -eu
elasticrecode submit "$1" -c:v libx264 -b:v "${BITRATE:-1M}" -vf scale=-2:360 --score 360p --min-vmaf "$2" --wait
