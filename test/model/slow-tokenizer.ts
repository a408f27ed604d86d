/** Merges, best first, and ids, as in tokenizer.json. */
export type Vocabulary = {
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly string[])[];
};

/** Byte-pair encoding as it is defined: again and again the best merge that applies, its leftmost place first. */
export function slowBpe({ vocab, merges }: Vocabulary, word: string): (number | undefined)[] {
  const ranks = new Map(merges.map(([left, right], rank) => [`${left}\0${right}`, rank]));
  const tokens = [...word];
  for (;;) {
    let best = -1;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < tokens.length; i++) {
      const rank = ranks.get(`${tokens[i]}\0${tokens[i + 1]}`) ?? Number.POSITIVE_INFINITY;
      if (rank < bestRank) [best, bestRank] = [i, rank];
    }
    if (best < 0) return tokens.map((token) => vocab[token]);
    tokens.splice(best, 2, `${tokens[best]}${tokens[best + 1]}`);
  }
}

/** GPT-2's spelling of bytes as printable characters (bytes_to_unicode of its encoder.py). */
export function byteLevelSpelling(text: string): string {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  const others = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !printable(byte));
  return Array.from(Buffer.from(text, "utf8"), (byte) =>
    String.fromCharCode(printable(byte) ? byte : 256 + others.indexOf(byte)),
  ).join("");
}
