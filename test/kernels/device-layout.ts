/** Where element k of a row lies in a device plane: element 64q + 16j + 8h + 2c + e of a group of 128. */
export function devicePosition(k: number): number {
  const inGroup = k % 128;
  const q = Math.floor(inGroup / 64);
  const j = Math.floor(inGroup / 16) % 4;
  const h = Math.floor(inGroup / 8) % 2;
  const c = Math.floor(inGroup / 2) % 4;
  const e = inGroup % 2;
  return k - inGroup + 32 * c + 16 * q + 4 * j + 2 * h + e;
}

/** K filled up to whole groups. */
export function paddedK(k: number): number {
  return Math.ceil(k / 128) * 128;
}

/** Rows of bytes in natural order as the device holds them, zero beyond k. */
export function toDeviceOrder(bytes: Uint8Array, rows: number, k: number): Uint8Array {
  const pitch = paddedK(k);
  const out = new Uint8Array(rows * pitch);
  for (let row = 0; row < rows; row++) {
    for (let at = 0; at < k; at++) out[row * pitch + devicePosition(at)] = bytes[row * k + at] ?? 0;
  }
  return out;
}

/** Rows of a lower plane, filled up to whole tiles. */
export function paddedN(n: number): number {
  return Math.ceil(n / 64) * 64;
}

/**
 * The lower plane of a device: residuals, lower bytes whose top bits say that the upper byte was rounded up, in the
 * order of toDeviceOrder and in tiles of 64 rows by 128 positions, row-major inside and among each other.
 */
export function toLowerPlane(
  { upper, lower }: { upper: Uint8Array; lower: Uint8Array },
  rows: number,
  k: number,
): Uint8Array {
  const residuals = lower.map((byte, at) => byte ^ (((upper[at] ?? 0) & 1) << 7));
  const upright = toDeviceOrder(residuals, rows, k);
  const [pitch, height] = [paddedK(k), paddedN(rows)];
  const out = new Uint8Array(height * pitch);
  let at = 0;
  for (let firstRow = 0; firstRow < height; firstRow += 64) {
    for (let first = 0; first < pitch; first += 128) {
      for (let row = firstRow; row < firstRow + 64; row++) {
        const from = row * pitch + first;
        out.set(upright.subarray(from, Math.min(from + 128, rows * pitch)), at);
        at += 128;
      }
    }
  }
  return out;
}
