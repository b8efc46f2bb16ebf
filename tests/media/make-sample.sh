#!/bin/sh
# Makes sample.ts, the short synthetic title that tests, demo and benchmarks loop. See README.md here.
# usage: make-sample.sh [OUTPUT]
set -eu
out=${1:-"$(dirname "$0")/sample.ts"}
# 320 pictures of 40 ms last exactly as long as 600 AAC frames of 1024 samples at 48 kHz (599 and the encoder's first):
# so the loop point can keep the spacing of both.
pictures=320
samples=$((599 * 1024))
ffmpeg -nostdin -v error -y \
    -f lavfi -i "testsrc2=size=480x270:rate=25,trim=end_frame=$pictures" \
    -f lavfi -i "sine=frequency=440:beep_factor=4:sample_rate=48000,atrim=end_sample=$samples" \
    -map 0:v -map 1:a \
    -c:v libx264 -preset slow -profile:v main -pix_fmt yuv420p \
    -g 25 -keyint_min 25 -sc_threshold 0 -bf 2 \
    -b:v 850k -maxrate 850k -bufsize 850k \
    -c:a aac -b:a 96k -ac 2 \
    -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1 \
    -f mpegts -muxrate 1200k -pcr_period 20 -muxdelay 0.7 -muxpreload 0.5 \
    "$out"
