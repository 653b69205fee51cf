import { unwatchFile, watchFile } from 'node:fs';
import { Mutex } from './mutex.ts';
import { readTextFile } from './text.ts';

interface WatchedFileOptions {
  readonly path: string;
  readonly pollMs: number;
  readonly maxBytes: number;
  /** Takes a text that differs from the last one that it took. @throws where the text cannot be used: it counts as not taken. */
  readonly take: (text: string) => Promise<void>;
  /** Called with each new reason why the file cannot be read or used: what was taken last stays. */
  readonly onProblem: (reason: string) => void;
}

/** What a read found: another text that was taken, the text taken before, or a file that cannot be used. */
export type ReadResult = 'changed' | 'unchanged' | 'failed';

/**
 * A text file that is polled every `pollMs` milliseconds. This notices edits in place, atomic renames and the swapped links of a Kubernetes
 * ConfigMap or Secret, also on file systems that send no events.
 */
export class WatchedFile {
  readonly #options: WatchedFileOptions;
  #text: string | undefined;
  #problem: string | undefined;
  readonly #mutex = new Mutex();
  readonly #listener = () => void this.read();

  constructor(options: WatchedFileOptions) {
    this.#options = options;
  }

  /** Reads the file and begins to watch it. Never rejects. */
  start(): Promise<ReadResult> {
    const { path, pollMs } = this.#options;
    watchFile(path, { interval: pollMs, persistent: false }, this.#listener);
    return this.read();
  }

  /** Reads the file now. Never rejects. */
  read(): Promise<ReadResult> {
    return this.#mutex.run(() => this.#read());
  }

  stop(): void {
    unwatchFile(this.#options.path, this.#listener);
  }

  async #read(): Promise<ReadResult> {
    const { path, maxBytes, take, onProblem } = this.#options;
    try {
      const text = await readTextFile(path, maxBytes);
      const isKnown = text === this.#text;
      if (!isKnown) await take(text);
      this.#text = text;
      this.#problem = undefined;
      return isKnown ? 'unchanged' : 'changed';
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#problem) onProblem(message);
      this.#problem = message;
      return 'failed';
    }
  }
}
