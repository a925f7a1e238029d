#!/bin/sh
# library.sh s3://bucket/masters/ s3://bucket/small/: transcode all films below a prefix, and say what went wrong with which.
set -eu
batch=$(elasticrecode batch submit --prefix "$1" --suffix .mp4 --suffix .mov --preset h264-360p --priority 10 --output "$2" |
  sed -n 's/^submitted //p')
[ -n "$batch" ]
elasticrecode batch show "$batch" --wait && exit
elasticrecode list --batch "$batch" --state failed
exit 1
