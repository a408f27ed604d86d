const units = ["B", "KiB", "MiB", "GiB", "TiB"];

/** `1536` -> `1.50 KiB`; three significant digits, binary units. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** `0.8734` -> `87.3 %`; never rounded up to a whole that was not reached. */
export function formatShare(share: number): string {
  const percent = 100 * share;
  const text = percent.toFixed(1);
  return `${text === "100.0" && share < 1 ? "99.9" : text} %`;
}

export function formatSeconds(seconds: number): string {
  return seconds < 60
    ? `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`
    : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/**
 * Text from an input, made safe for a terminal: no control, format or line separating character can move the
 * cursor or reverse a line.
 */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
