/**
 * Jobs in groups, one group a request, and groups in shares, one share an API key. Takes jobs from the shares in turn, and within a share from
 * its groups in turn, so that neither a group of a thousand jobs nor a key of a hundred requests delays the others.
 */
export class FairQueue<T> {
  readonly #shares = new Map<unknown, Map<object, T[]>>();
  readonly #shareOf = new Map<object, unknown>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @param share Default: the group is a share of its own. */
  push(group: object, job: T, share: unknown = group): void {
    const groups = this.#shares.get(share) ?? new Map<object, T[]>();
    this.#shares.set(share, groups);
    this.#shareOf.set(group, share);
    const jobs = groups.get(group);
    if (jobs) jobs.push(job);
    else groups.set(group, [job]);
    this.#size++;
  }

  /** Removes and returns the first job of the next group of the next share; both then move to the end. */
  shift(): T | undefined {
    const next = this.#shares.entries().next();
    if (next.done) return undefined;
    const [share, groups] = next.value;
    const [group, jobs] = groups.entries().next().value!;
    const job = jobs.shift();
    groups.delete(group);
    if (jobs.length > 0) groups.set(group, jobs);
    else this.#shareOf.delete(group);
    this.#shares.delete(share);
    if (groups.size > 0) this.#shares.set(share, groups);
    this.#size--;
    return job;
  }

  /** Removes and returns all jobs of a group. */
  drop(group: object): readonly T[] {
    const share = this.#shareOf.get(group);
    const groups = this.#shares.get(share);
    const jobs = groups?.get(group) ?? [];
    groups?.delete(group);
    if (groups?.size === 0) this.#shares.delete(share);
    this.#shareOf.delete(group);
    this.#size -= jobs.length;
    return jobs;
  }

  /** Removes and returns all jobs. */
  clear(): readonly T[] {
    const jobs = [...this.#shares.values()].flatMap((groups) => [...groups.values()].flat());
    this.#shares.clear();
    this.#shareOf.clear();
    this.#size = 0;
    return jobs;
  }
}
