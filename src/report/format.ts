const units = ["B", "KiB", "MiB", "GiB", "TiB"];

/** `1536` -> `1.50 KiB`; three significant digits, binary units. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // What would be shown as 1024 is one of the next unit.
  while (value >= 1023.5 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** `0.8734` -> `87.3 %`; never rounded up to a whole that was not reached. */
export function formatShare(share: number): string {
  const percent = 100 * share;
  const text = percent.toFixed(1);
  return `${text === "100.0" && share < 1 ? "99.9" : text} %`;
}

export function formatSeconds(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** `12.345678` -> `12.35`, `12345678` -> `12345678`: four significant digits of a positive number, never an exponent. */
export function formatNumber(value: number): string {
  const digits = Math.max(0, 3 - Math.floor(Math.log10(value)));
  return value.toFixed(Math.min(9, digits));
}

/** `0.0253` -> `25.30 GFLOP/s`: of a machine of any speed, with four significant digits. */
export function formatRate(tflops: number): string {
  return tflops >= 1 ? `${formatNumber(tflops)} TFLOP/s` : `${formatNumber(1000 * tflops)} GFLOP/s`;
}

/**
 * Text from an input, made safe for a terminal: no control, format or line separating character can move the
 * cursor or reverse a line.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, escapeUnits);
}

/** A character beyond U+FFFF as its two surrogates, as JSON writes it. */
function escapeUnits(char: string): string {
  return char
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
}
