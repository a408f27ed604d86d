/**
 * A small binary floating-point format with subnormals. A magnitude is the bits without sign: exponent field,
 * then fraction, so that magnitudes order like the values they stand for.
 */
export type BinaryFormat = {
  readonly fractionBits: number;
  /** Exponent of the least normal number. */
  readonly minExponent: number;
};

export const half: BinaryFormat = { fractionBits: 10, minExponent: -14 };
export const bfloat16: BinaryFormat = { fractionBits: 7, minExponent: -126 };
export const e4m3: BinaryFormat = { fractionBits: 3, minExponent: -6 };

/** The value of a finite magnitude. */
export function magnitudeToNumber(format: BinaryFormat, magnitude: number): number {
  const unit = 2 ** format.fractionBits;
  const field = Math.floor(magnitude / unit);
  const fraction = magnitude % unit;
  if (field === 0) return fraction * 2 ** (format.minExponent - format.fractionBits);
  return (unit + fraction) * 2 ** (field - 1 + format.minExponent - format.fractionBits);
}

/**
 * The magnitude nearest to a value >= 0, ties to even, as if the exponent had no upper end. The value must be
 * exact: a sum or product that was rounded before is rounded twice.
 */
export function roundToMagnitude(format: BinaryFormat, value: number): number {
  const exponent = Math.max(exponentOf(value), format.minExponent);
  const ulps = roundHalfEven(value * 2 ** (format.fractionBits - exponent));
  // A carry into the next exponent lands on the next magnitude by itself.
  return (exponent - format.minExponent) * 2 ** format.fractionBits + ulps;
}

const bits = new DataView(new ArrayBuffer(8));

/** floor(log2(value)), which Math.log2 does not give exactly next to powers of two; 0 has that of the least. */
function exponentOf(value: number): number {
  bits.setFloat64(0, value);
  return ((bits.getUint16(0) >> 4) & 0x7ff) - 1023;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1);
  return up ? floor + 1 : floor;
}
