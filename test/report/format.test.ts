import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatBytes,
  formatNumber,
  formatRate,
  formatSeconds,
  formatShare,
  printable,
} from "../../src/report/format.ts";

test("bytes: three digits, binary units, and never 1024 of one", () => {
  const expected: readonly (readonly [number, string])[] = [
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.00 KiB"],
    [1536, "1.50 KiB"],
    [10_235, "10.0 KiB"],
    [1024 * 99.96, "100 KiB"],
    [1024 * 1023, "1023 KiB"],
    [1024 * 1023.6, "1.00 MiB"],
    [5 * 2 ** 30, "5.00 GiB"],
    [2 ** 50, "1024 TiB"],
  ];
  for (const [bytes, text] of expected) assert.equal(formatBytes(bytes), text, String(bytes));
});

test("shares: a whole that was not reached is not shown as one", () => {
  const expected: readonly (readonly [number, string])[] = [
    [0, "0.0 %"],
    [0.8734, "87.3 %"],
    [0.99999, "99.9 %"],
    [1, "100.0 %"],
    [1.005, "100.5 %"],
  ];
  for (const [share, text] of expected) assert.equal(formatShare(share), text, String(share));
});

test("seconds: minutes from 60, and never 60 of one", () => {
  const expected: readonly (readonly [number, string])[] = [
    [0.004, "0.00 s"],
    [9.994, "9.99 s"],
    [9.996, "10.0 s"],
    [59.94, "59.9 s"],
    [59.97, "1 min 0 s"],
    [119.7, "2 min 0 s"],
    [3661, "61 min 1 s"],
  ];
  for (const [seconds, text] of expected) assert.equal(formatSeconds(seconds), text, String(seconds));
});

test("numbers: four significant digits without an exponent", () => {
  const expected: readonly (readonly [number, string])[] = [
    [0.000_012_34, "0.00001234"],
    [0.5, "0.5000"],
    [12.345678, "12.35"],
    [1234.5, "1235"],
    [12_345_678, "12345678"],
  ];
  for (const [value, text] of expected) assert.equal(formatNumber(value), text, String(value));
});

test("rates: the unit that suits the machine", () => {
  assert.equal(formatRate(757.25), "757.3 TFLOP/s");
  assert.equal(formatRate(1), "1.000 TFLOP/s");
  assert.equal(formatRate(0.0253), "25.30 GFLOP/s");
});

test("text from inputs: control, format and separating characters are escaped, letters are not", () => {
  assert.equal(printable('plain ünïcode 𝔞 \\ "'), 'plain ünïcode 𝔞 \\ "');
  assert.equal(printable("\u001b[2J\n\u0000\u007f\u009b"), "\\u001b[2J\\u000a\\u0000\\u007f\\u009b");
  assert.equal(printable("\u202e\u200b\u2028\ufeff"), "\\u202e\\u200b\\u2028\\ufeff");
  assert.equal(printable("\u{e0041}\ud800"), "\\udb40\\udc41\\ud800");
});
