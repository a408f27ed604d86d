import assert from "node:assert/strict";
import { test } from "node:test";

import { quote } from "../../src/safetensors/quote.ts";

test("quotes as JSON and escapes what a terminal would act on", () => {
  assert.equal(quote('a"b\\é😀'), '"a\\"b\\\\é😀"');
  assert.equal(quote("\u001b[2J\r\n\u0000"), '"\\u001b[2J\\r\\n\\u0000"');
  assert.equal(quote("\u007f\u009b\u202e\u2028\u200b\ufeff"), '"\\u007f\\u009b\\u202e\\u2028\\u200b\\ufeff"');
  assert.equal(quote("\u{e0001}"), '"\\udb40\\udc01"');
  assert.equal(quote("\ud800"), '"\\ud800"');
});

test("cuts long text", () => {
  assert.equal(quote("n".repeat(200)), `"${"n".repeat(200)}"`);
  assert.equal(quote("n".repeat(1e6)), `"${"n".repeat(200)}..."`);
});
