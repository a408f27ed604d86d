import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { settle } from "../../src/hub/settle.ts";

const never = new Promise<never>(() => undefined);
const patient = { signal: new AbortController().signal, stallMs: 3_600_000 };
const ok: typeof fetch = async () => new Response("");

describe("a generator of events", () => {
  test("that ends gives its events and its value", async () => {
    const events: number[] = [];
    async function* begin(request: typeof fetch): AsyncGenerator<number, string> {
      yield 1;
      await request("http://hub.example");
      yield 2;
      return "end";
    }
    assert.equal(await settle(begin, ok, patient, (event) => events.push(event)), "end");
    assert.deepEqual(events, [1, 2]);
  });

  test("that fails, fails", async () => {
    // biome-ignore lint/correctness/useYield: what fails has nothing to say.
    async function* begin(): AsyncGenerator<never, never> {
      throw new Error("as it does");
    }
    await assert.rejects(
      settle(begin, ok, patient, () => assert.fail()),
      /as it does/,
    );
  });

  test("that loses the error of a request ends with it, and its signal is aborted", async () => {
    let stop: AbortSignal | undefined;
    async function* begin(request: typeof fetch, signal: AbortSignal): AsyncGenerator<number, never> {
      stop = signal;
      request("http://hub.example").catch(() => undefined);
      yield 1;
      return never;
    }
    const refuse: typeof fetch = () => Promise.reject(new Error("refused"));
    await assert.rejects(
      settle(begin, refuse, patient, () => undefined),
      /refused/,
    );
    assert.equal(stop?.aborted, true);
  });

  test("that never settles is given up when nothing more comes of it, and not while a request lasts", async () => {
    let answered = false;
    async function* begin(request: typeof fetch): AsyncGenerator<number, never> {
      await request("http://hub.example");
      answered = true;
      yield 1;
      return never;
    }
    const slow: typeof fetch = async () => {
      await new Promise((done) => setTimeout(done, 300));
      return new Response("");
    };
    const watch = { ...patient, stallMs: 50 };
    await assert.rejects(
      settle(begin, slow, watch, () => undefined),
      /nothing more came of it in 0\.05 s/,
    );
    assert.ok(answered);
  });

  test("that never settles can be interrupted", async () => {
    const interrupt = new AbortController();
    async function* begin(): AsyncGenerator<number, never> {
      yield 1;
      return never;
    }
    const watch = { ...patient, signal: interrupt.signal };
    const run = settle(begin, ok, watch, () => interrupt.abort(new Error("interrupted")));
    await assert.rejects(run, /interrupted/);
  });
});
