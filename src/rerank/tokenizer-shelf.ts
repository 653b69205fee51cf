import type { ServedVersion } from '../registry/registry-types.ts';
import type { PairTokenizer } from '../tokenization/tokenization-types.ts';

/** Where tokenizers come from: the worker pool, or loading in this thread. */
export interface TokenizerSource {
  /** The tokenizer of a model folder; whoever asks closes it. */
  for(folder: string): Promise<PairTokenizer>;
}

/** Versions whose tokenizers are kept open beyond those in use. */
const KEPT = 16;

interface Shelved {
  readonly tokenizer: Promise<PairTokenizer>;
  users: number;
}

/**
 * The tokenizers of the versions that are served, opened at first use, closed when many others have been used since. A folder whose
 * tokenizer fails to open is tried again by the next request.
 */
export class TokenizerShelf {
  readonly #source: TokenizerSource;
  /** By version key, least recently used first. */
  readonly #shelf = new Map<string, Shelved>();

  constructor(source: TokenizerSource) {
    this.#source = source;
  }

  /** Runs `work` with the version's tokenizer, which stays open meanwhile. */
  async use<T>(version: ServedVersion, work: (tokenizer: PairTokenizer) => Promise<T>): Promise<T> {
    const shelved = this.#take(version);
    shelved.users++;
    try {
      return await work(await shelved.tokenizer);
    } finally {
      shelved.users--;
      this.#thin();
    }
  }

  #take({ key, folder }: ServedVersion): Shelved {
    const known = this.#shelf.get(key);
    this.#shelf.delete(key);
    const shelved = known ?? { tokenizer: this.#source.for(folder), users: 0 };
    this.#shelf.set(key, shelved);
    if (!known)
      shelved.tokenizer.catch(() => {
        if (this.#shelf.get(key) === shelved) this.#shelf.delete(key);
      });
    return shelved;
  }

  #thin(): void {
    for (const [key, { tokenizer, users }] of this.#shelf) {
      if (this.#shelf.size <= KEPT) return;
      if (users > 0) continue;
      this.#shelf.delete(key);
      // One that never opened has nothing to close.
      tokenizer.then((opened) => opened.close()).catch(() => undefined);
    }
  }
}
