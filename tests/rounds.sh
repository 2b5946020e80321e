#!/usr/bin/env bash
# The long rounds: crashes, machines and networks that fail (as root, with iproute2), and, where cargo-fuzz is installed,
# fuzzing. About an hour.
#
#   tests/rounds.sh [CRASHES] [FUZZ_SECONDS]     50 rounds of crashes, 420 s for each of the five fuzz targets
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== ${1:-50} rounds of crashes"
BITTORRENTISH_ROUNDS=${1:-50} cargo test --test it crashes:: -- --nocapture

echo "== networks, small disks and floods, five times"
for _ in 1 2 3 4 5; do
    BITTORRENTISH_HOSTS=must cargo test --test it -- links:: hosts:: disk:: floods::
done

if ! command -v cargo-fuzz >/dev/null; then
    echo "no cargo-fuzz: the fuzzing is left out (see tests/fuzz/Cargo.toml)"
    exit 0
fi
cd tests/fuzz
for target in to_tracker from_tracker between_peers names state; do
    echo "== fuzzing $target"
    mkdir -p "corpus/$target"
    seeds=()
    if [ -d "seeds/$target" ]; then seeds=("seeds/$target" -- -dict=words.dict); else seeds=(--); fi
    cargo +nightly fuzz run --fuzz-dir . -s none -a "$target" "corpus/$target" "${seeds[@]}" \
        -max_total_time="${2:-420}" -max_len=4096 -rss_limit_mb=1024 -timeout=10
done
