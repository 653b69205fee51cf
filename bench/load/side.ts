import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

/** A process that does a piece of work for every line written to it and answers with its milliseconds. */
export class Side {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #times: number[] = [];

  get pid(): number {
    return this.#process.pid!;
  }

  constructor(command: string, args: readonly string[]) {
    this.#process = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, TQDM_DISABLE: '1' },
    });
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`expected a line from ${this.#process.spawnfile}, got its end`);
    return value;
  }

  /** Waits for the line `ready` and drops the output before it. */
  async ready(): Promise<void> {
    while ((await this.#line()) !== 'ready');
  }

  /** Lets the process work once. @returns milliseconds. */
  async step(): Promise<number> {
    // Threads of the other side keep spinning for some milliseconds after its step.
    await pause(30);
    this.#process.stdin!.write('\n');
    const ms = Number(await this.#line());
    this.#times.push(ms);
    return ms;
  }

  /** Ends the process. @returns all times in milliseconds, and its peak memory in MB. */
  async end(): Promise<{ readonly times: readonly number[]; readonly mb: number }> {
    this.#process.stdin!.end();
    return { times: this.#times, mb: Number(await this.#line()) };
  }

  /** Ends the process at once, if it is still there. */
  kill(): void {
    this.#process.kill('SIGKILL');
  }
}
