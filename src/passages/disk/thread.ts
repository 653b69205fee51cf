import { Worker } from 'node:worker_threads';
import { workerEntry } from '../../util/worker-entry.ts';
import { FileError } from './errors.ts';
import type { FileCall, FileFacts, FileReply, FileSetting, PassagesRead } from './file-types.ts';
import { buffersOf } from './packed.ts';

interface Waiting {
  readonly resolve: (value: PassagesRead | undefined) => void;
  readonly reject: (error: FileError) => void;
}

/** `node:sqlite` is synchronous, so the file is read and written in a thread of its own. */
export class FileThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onFacts: (facts: FileFacts) => void;
  #next = 0;
  #ended: FileError | undefined;

  /** @param onFacts is called before the promise of a call is settled. */
  constructor(workerData: FileSetting, onFacts: (facts: FileFacts) => void) {
    this.#onFacts = onFacts;
    this.#worker = new Worker(workerEntry('./worker', import.meta.url), { workerData });
    // Only a pending call keeps the process alive.
    this.#worker.unref();
    this.#worker.on('error', (error) => this.#end(error.message));
    this.#worker.on('exit', () => this.#end('its thread has ended'));
    this.#worker.on('message', (reply: FileReply & FileFacts) => this.#settle(reply));
  }

  /** @throws FileError. */
  call(call: FileCall): Promise<PassagesRead | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      const id = this.#next++;
      if (this.#waiting.size === 0) this.#worker.ref();
      this.#waiting.set(id, { resolve, reject });
      const sent = call.kind === 'write' ? [...buffersOf(call.passages), call.forget.buffer] : [];
      this.#worker.postMessage({ id, call }, sent);
    });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #settle(reply: FileReply & FileFacts): void {
    const call = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    this.#onFacts(reply);
    if (reply.ok) call?.resolve(reply.value);
    else call?.reject(new FileError(reply.fault, reply.message));
  }

  #end(reason: string): void {
    this.#ended ??= new FileError('failed', reason);
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}
