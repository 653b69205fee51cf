import type { ServedVersion } from '../registry/registry-types.ts';
import type { PairTokenizer } from '../tokenization/tokenization-types.ts';

/** Opens tokenizers: the pool of tokenizer threads, or a loader in this thread. */
export interface TokenizerSource<T extends PairTokenizer = PairTokenizer> {
  /** Opens the tokenizer of a model folder. The caller closes it. */
  for(folder: string): Promise<T>;
}

/** Tokenizers that stay open although none of them may be in use. */
const MAX_OPEN = 16;

interface Shelved<T> {
  readonly tokenizer: Promise<T>;
  users: number;
}

/**
 * The tokenizers of the versions that are served: opened at first use, closed when many others have been used since. A tokenizer that
 * fails to open is tried again by the next request.
 */
export class TokenizerShelf<T extends PairTokenizer = PairTokenizer> {
  readonly #source: TokenizerSource<T>;
  /** By version key, least recently used first. */
  readonly #shelf = new Map<string, Shelved<T>>();

  constructor(source: TokenizerSource<T>) {
    this.#source = source;
  }

  /** Runs `work` with the version's tokenizer, which stays open until `work` has ended. */
  async use<R>(version: ServedVersion, work: (tokenizer: T) => Promise<R>): Promise<R> {
    const shelved = this.#take(version);
    shelved.users++;
    try {
      return await work(await shelved.tokenizer);
    } finally {
      shelved.users--;
      this.#closeUnused();
    }
  }

  #take({ key, folder }: ServedVersion): Shelved<T> {
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

  #closeUnused(): void {
    for (const [key, { tokenizer, users }] of this.#shelf) {
      if (this.#shelf.size <= MAX_OPEN) return;
      if (users > 0) continue;
      this.#shelf.delete(key);
      // A tokenizer that failed to open has nothing to close.
      tokenizer.then((opened) => opened.close()).catch(() => undefined);
    }
  }
}
