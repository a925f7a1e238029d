#!/bin/sh
# package.sh s3://bucket/in/film.mp4 s3://bucket/out/: make a streaming package, wait, and print where its playlist is.
set -eu
elasticrecode package "$1" --output "$2" --wait >&2
name=${1##*/}
echo "$2${name%.*}/master.m3u8"
