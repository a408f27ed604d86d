#!/bin/bash
# Runs the kernels under compute-sanitizer on a GPU: bash test/gpu/sanitize.sh (npm run build:addon and
# build:kernels first). Shapes with odd tails, cut tiles and every schedule; prints what each tool found, and
# ends with 1 if any found something or a result was wrong. The tools run side by side: two minutes.
set -u
cd "$(dirname "$0")/../.."
tool=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
logs=$(mktemp -d) || exit 1
names=()
run() { # name of the log, options of the tool, shapes and tokens, more options of cuda_bench
    local log="$logs/$1" failed=
    $tool $2 --error-exitcode 9 native/build/Release/cuda_bench kernels/build $3 nested-fp16,nested-fp8 \
        --check-only ${4:-} >"$log" 2>&1 || failed="exit $?; "
    grep -q '"ok":true' "$log" || failed+="no result; "
    ! grep -q '"ok":false\|"error"' "$log" || failed+="wrong: $(grep -m 1 '"ok":false\|"error"' "$log"); "
    echo "${failed:+FAILED: $failed}$(grep -c '"ok":true' "$log") results right; $(tail -1 "$log")" >"$log.found"
}
# The second shape is cut along K by nearly every configuration and schedule.
run memcheck "--tool memcheck" "208x80,400x4112 33,300" &
run synccheck "--tool synccheck" "208x80,400x4112 33,300" &
names+=(memcheck synccheck)
# One of each: tokens shared or weights, one to four warpgroups, stores from stages of weights, of 16 tokens,
# widened, E4M3, with sums in FP32, with its operands swapped.
for config in nested16_128x256_s4w3_c1 nested16_128x256_s4w3_c2 nested16_64x128k2_s4w4_t2 \
    nested16_64x256_s5w3_c2 nested16_64x16k4_s5w4_c1 nested16_192x128_s5w3_t2 nested16_128x176_s5w3_c2 \
    nested16_128x208_s4w3_c2 \
    w8a8_128x128_s6w6_c1 w8a8f32_128x128_s6w6_c2 w8a8f32_64x64k2_s6w6_t2 w8a16_64x16k4_s8w8_c1 \
    a8w8_128x80_s7w7_c2 a8w8_64x80k2_s5w5_c2; do
    run "racecheck-$config" "--tool racecheck" "400x4112 300" "--filter $config/" &
    names+=("racecheck-$config")
done
# Blocks that go on after a store from a stage of weights.
run racecheck-go-on "--tool racecheck" "6160x528 600" "--filter nested16_128x256_s4w3_c2/" &
names+=(racecheck-go-on)
wait
failed=
for name in "${names[@]}"; do
    # A run that was killed has left no word.
    found=$(cat "$logs/$name.found" 2>/dev/null) || found="FAILED: it did not end"
    echo "$name: $found"
    case $found in FAILED*) failed=1 ;; esac
done
if [ -n "$failed" ]; then
    echo "the logs are in $logs"
    exit 1
fi
rm -r "$logs"
