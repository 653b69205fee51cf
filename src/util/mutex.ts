/** Runs tasks one after another, in the order in which they were added. A task that fails does not stop the ones after it. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `task` when every task added before it has settled. Returns or throws what the task does. */
  run<T>(task: () => T | Promise<T>): Promise<T> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Resolves when every task added so far has settled. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
