/**
 * Jobs in groups, one group a request. Takes jobs from the groups in turn, so that a group of a thousand jobs does not delay a group of
 * one.
 */
export class FairQueue<T> {
  readonly #groups = new Map<object, T[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(group: object, job: T): void {
    const jobs = this.#groups.get(group);
    if (jobs) jobs.push(job);
    else this.#groups.set(group, [job]);
    this.#size++;
  }

  /** Removes and returns the first job of the next group; the group then moves to the end. */
  shift(): T | undefined {
    const next = this.#groups.entries().next();
    if (next.done) return undefined;
    const [group, jobs] = next.value;
    const job = jobs.shift();
    this.#groups.delete(group);
    if (jobs.length > 0) this.#groups.set(group, jobs);
    this.#size--;
    return job;
  }

  /** Removes and returns all jobs of a group. */
  drop(group: object): readonly T[] {
    const jobs = this.#groups.get(group) ?? [];
    this.#groups.delete(group);
    this.#size -= jobs.length;
    return jobs;
  }

  /** Removes and returns all jobs. */
  clear(): readonly T[] {
    const jobs = [...this.#groups.values()].flat();
    this.#groups.clear();
    this.#size = 0;
    return jobs;
  }
}
