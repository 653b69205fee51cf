/** Sums the scores of passages over a query's terms. It records the passages touched, so clearing costs no more than adding. */
export class Accumulator {
  readonly #scores: Float64Array;
  readonly #touched: Uint32Array;
  #count = 0;

  constructor(passages: number) {
    this.#scores = new Float64Array(passages);
    this.#touched = new Uint32Array(passages);
  }

  /**
   * Adds weight · tf / (tf + norm) for every posting. Like Lucene it omits the factor k1 + 1 of Robertson's formula, which does not change
   * the ranking. Postings are encoded as `PostingsBatch` writes them.
   */
  addTerm(postings: Uint8Array, weight: number, norms: Float64Array): void {
    const scores = this.#scores;
    let at = 0;
    let passage = 0;
    while (at < postings.length) {
      let byte = postings[at++]!;
      let code = byte & 127;
      for (let shift = 7; byte >= 128; shift += 7) {
        byte = postings[at++]!;
        code += (byte & 127) << shift;
      }
      let frequency = 1;
      if ((code & 1) === 0) {
        byte = postings[at++]!;
        frequency = byte & 127;
        for (let shift = 7; byte >= 128; shift += 7) {
          byte = postings[at++]!;
          frequency += (byte & 127) << shift;
        }
      }
      passage += code >>> 1;
      if (scores[passage] === 0) this.#touched[this.#count++] = passage;
      scores[passage]! += (weight * frequency) / (frequency + norms[passage]!);
    }
  }

  /** Calls `visit` for every touched passage and clears the scores. */
  drain(visit: (passage: number, score: number) => void): void {
    for (let i = 0; i < this.#count; i++) {
      const passage = this.#touched[i]!;
      visit(passage, this.#scores[passage]!);
      this.#scores[passage] = 0;
    }
    this.#count = 0;
  }
}
