import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { decompose, halfToNumber, reconstruct } from "../../src/codec/reference.ts";
import { paddedK, paddedN, toDeviceOrder, toLowerPlane } from "./device-layout.ts";

const kernels = fileURLToPath(new URL("../../kernels/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nestedfp-planes-"));
after(() => rmSync(folder, { recursive: true }));

/** The kernels of ops/planes.cuh as one thread of a CPU runs them. */
const program = `
#define __device__
#define __host__
#define __shared__ static
struct { int x; } blockIdx{0}, blockDim{1}, gridDim{1}, threadIdx{0};
inline void __syncthreads() {}
#include "ops/planes.cuh"
#include <cstdio>
#include <vector>
using namespace nestedfp::kernels;
int main() {
    // All words and some again: two groups along K, the last one and the last tile of rows filled up.
    constexpr int n = 316, k = 208, pitch = 256, height = 320;
    // What lies behind the words must not be read.
    std::vector<uint16_t> words(height * k, 0xffff), back(n * k);
    for (int i = 0; i < n * k; ++i) words[i] = static_cast<uint16_t>(i);
    std::vector<uint8_t> upper(n * pitch), lower(height * pitch, 0xff), high(n * pitch), low(height * pitch);
    if (lower_plane_bytes(n, k) != lower.size()) return 1;
    split_planes({words.data(), upper.data(), lower.data(), n, k, pitch});
    for (int row = 0; row < n; ++row) {
        for (int at = 0; at < pitch; ++at) {
            if (element_at(at) >= k) continue;
            const int pair = row * k + static_cast<int>(element_at(at));
            high[row * pitch + at] = pair >> 8;
            low[lower_at(row, at, pitch)] = (pair ^ (pair >> 8 & 1) << 7) & 0xff;
        }
    }
    join_planes({high.data(), low.data(), back.data(), n, k, pitch});
    std::fwrite(upper.data(), 1, upper.size(), stdout);
    std::fwrite(lower.data(), 1, lower.size(), stdout);
    std::fwrite(back.data(), 2, back.size(), stdout);
}`;

test("the kernels' planes and words are the reference's, for all words and all pairs of bytes", () => {
  const source = join(folder, "planes.cc");
  writeFileSync(source, program);
  const binary = join(folder, "planes");
  execFileSync("g++", ["-std=c++20", "-fpermissive", "-w", "-I", kernels, source, "-o", binary]);
  execFileSync("sh", ["-c", `"${binary}" > "${folder}/out"`]);
  const out = readFileSync(join(folder, "out"));
  const [n, k] = [316, 208];
  const [upperBytes, lowerBytes] = [n * paddedK(k), paddedN(n) * paddedK(k)];
  const words = Array.from({ length: n * k }, (_, at) => at & 0xffff);
  // NaN and infinity have no upper byte that means anything.
  const finite = words.map((word) => (Number.isFinite(halfToNumber(word)) ? word : 0));
  const isMeaningless = toDeviceOrder(
    Uint8Array.from(words, (word, at) => Number(finite[at] !== word)),
    n,
    k,
  );
  const planes = {
    upper: Uint8Array.from(finite, (word) => decompose(word).upper),
    lower: Uint8Array.from(words, (word) => word & 0xff),
  };
  const upper = toDeviceOrder(planes.upper, n, k);
  const lower = toLowerPlane(planes, n, k);
  for (const [at, byte] of upper.entries()) {
    if (isMeaningless[at] === 0) assert.equal(out[at], byte, `upper at ${at}`);
  }
  for (const [at, byte] of lower.entries()) assert.equal(out[upperBytes + at], byte, `lower at ${at}`);
  for (const [at, pair] of words.entries()) {
    const word = out.readUInt16LE(upperBytes + lowerBytes + 2 * at);
    assert.equal(word, reconstruct({ upper: pair >> 8, lower: pair & 0xff }), `pair 0x${pair.toString(16)}`);
  }
});
