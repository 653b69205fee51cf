/** Jobs of many groups (one a request), handed out in turns: a group of a thousand jobs does not hold up a group of one. */
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

  /** The first job of the group whose turn it is; the group then goes to the end of the line. */
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

  /** Takes all jobs of a group out. */
  drop(group: object): readonly T[] {
    const jobs = this.#groups.get(group) ?? [];
    this.#groups.delete(group);
    this.#size -= jobs.length;
    return jobs;
  }

  /** Takes all jobs out. */
  clear(): readonly T[] {
    const jobs = [...this.#groups.values()].flat();
    this.#groups.clear();
    this.#size = 0;
    return jobs;
  }
}
