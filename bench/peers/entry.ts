import { cpuSeconds, residentBytes } from '../load/processes.ts';
import type { Contestant } from './contestant.ts';
import type { Result } from './report.ts';
import type { Row, Scene } from './rows.ts';
import type { Accuracy } from './work.ts';

/** Writes a line of progress. */
export const note = (line: string) => process.stderr.write(`${line}\n`);
const reasonOf = (error: unknown) => (error instanceof Error ? error.message : String(error)).split('\n')[0]!;

/** A row that takes part, and what was seen of it. */
export class Entry {
  readonly row: Row;
  readonly seconds: number[] = [];
  readonly cpu: number[] = [];
  contestant: Contestant | undefined;
  accuracy: Accuracy | undefined;
  scores: Float64Array | undefined;
  version = '';
  reason: string | undefined;
  bytes = 0;

  constructor(row: Row) {
    this.row = row;
  }

  /** Does something with the contestant; an error closes it, and the row says why. */
  async attempt(work: (contestant: Contestant) => Promise<void>): Promise<void> {
    if (this.contestant === undefined) return;
    try {
      await work(this.contestant);
    } catch (error) {
      await this.fail(error);
    }
  }

  async fail(error: unknown): Promise<void> {
    this.reason = reasonOf(error);
    note(`${this.row.title}: ${this.reason}`);
    if (this.row.isOurs) process.exitCode = 1;
    const { contestant } = this;
    this.contestant = undefined;
    await contestant?.close();
  }

  async open(scene: Scene): Promise<void> {
    try {
      this.contestant = await this.row.start(scene);
      this.version = this.contestant.version;
      note(`${this.row.title}: ready`);
    } catch (error) {
      await this.fail(error);
    }
  }

  async time(): Promise<void> {
    await this.attempt(async ({ pids, round }) => {
      const used = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
      const [before, begin] = [used(), performance.now()];
      await round();
      this.seconds.push((performance.now() - begin) / 1000);
      this.cpu.push(used() - before);
      this.bytes = Math.max(
        this.bytes,
        pids.reduce((sum, pid) => sum + residentBytes(pid), 0),
      );
    });
  }

  result(): Result {
    const { row, version, reason, seconds, cpu, bytes, accuracy } = this;
    const { id, title, given, isOurs = false } = row;
    return {
      ...{ id, title, given, isOurs, version, seconds, cpu, bytes },
      ...(reason === undefined ? {} : { reason }),
      ...(accuracy === undefined ? {} : { accuracy }),
    };
  }
}
