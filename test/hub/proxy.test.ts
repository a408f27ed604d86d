import assert from "node:assert/strict";
import { test } from "node:test";
import { isExempt } from "../../src/hub/proxy.ts";

const cases: readonly (readonly [address: string, entries: string, exempt: boolean])[] = [
  ["https://huggingface.co/x", "", false],
  ["https://huggingface.co/x", "*", true],
  ["https://huggingface.co/x", "huggingface.co", true],
  ["https://cdn.huggingface.co/x", "huggingface.co", true],
  ["https://cdn.huggingface.co/x", ".huggingface.co", true],
  ["https://cdn.huggingface.co/x", "*.huggingface.co", true],
  ["https://nothuggingface.co/x", "huggingface.co", false],
  ["https://huggingface.co/x", "huggingface.co:443", true],
  ["https://huggingface.co:8443/x", "huggingface.co:443", false],
  ["http://127.0.0.1:8080/", "localhost 127.0.0.1", true],
  ["http://[::1]:8080/", "[::1]:8080", true],
  ["http://[::1]:8080/", "[::1]", true],
];

for (const [address, entries, exempt] of cases) {
  test(`NO_PROXY ${JSON.stringify(entries)} ${exempt ? "exempts" : "does not exempt"} ${address}`, () => {
    assert.equal(isExempt(new URL(address), entries.split(" ").filter(Boolean)), exempt);
  });
}
