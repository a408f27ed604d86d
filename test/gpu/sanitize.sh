#!/bin/bash
# Runs the kernels under compute-sanitizer on a GPU: bash test/gpu/sanitize.sh (npm run build:addon and
# build:kernels first). Shapes with odd tails, cut tiles and every schedule; prints what each tool found, and
# ends with 1 if any found something or a result was wrong.
set -u
cd "$(dirname "$0")/../.."
tool=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
logs=$(mktemp -d)
failed=0
run() { # name of the log, options of the tool, shapes and tokens, more options of cuda_bench
    $tool $2 --error-exitcode 9 native/build/Release/cuda_bench kernels/build $3 nested-fp16,nested-fp8 \
        --check-only ${4:-} >"$logs/$1" 2>&1 || failed=1
    grep -q '"ok":true' "$logs/$1" || failed=1
    ! grep -q '"ok":false\|"error"' "$logs/$1" || failed=1
    echo "$1: $(grep -c '"ok":true' "$logs/$1") results right; $(tail -1 "$logs/$1")"
}
# The second shape is cut along K by nearly every configuration and schedule.
run memcheck "--tool memcheck" "208x80,400x4112 33,300"
run synccheck "--tool synccheck" "208x80,400x4112 33,300"
# One of each: tokens shared or weights, one to four warpgroups, stores from stages of weights, widened, E4M3.
for config in nested16_128x256_s4w3_c1 nested16_128x256_s4w3_c2 nested16_64x128k2_s4w4_t2 \
    nested16_64x256_s5w3_c2 nested16_64x16k4_s5w4_c1 nested16_192x128_s5w3_t2 w8a8_128x128_s6w6_c1 \
    w8a16_64x16k4_s8w8_c1; do
    run "racecheck-$config" "--tool racecheck" "400x4112 300" "--filter $config"
    grep -q "$config/" "$logs/racecheck-$config" || failed=1
done
# Blocks that go on after a store from a stage of weights.
run racecheck-go-on "--tool racecheck" "6160x528 600" "--filter nested16_128x256_s4w3_c2"
if [ $failed = 1 ]; then echo "the logs are in $logs"; else rm -r "$logs"; fi
exit $failed
