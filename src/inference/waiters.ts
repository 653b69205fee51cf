/** Calls that wait for the same event. */
export class Waiters {
  #waiting: PromiseWithResolvers<void>[] = [];

  /** Resolves at the next `wake`. @throws the error of `reject` where that comes first. */
  next(): Promise<void> {
    const waiter = Promise.withResolvers<void>();
    this.#waiting.push(waiter);
    return waiter.promise;
  }

  wake(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  reject(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
