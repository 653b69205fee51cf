import type { Context } from '../context.ts';
import type { Finding } from '../findings.ts';

/** A part of the benchmark that runs in a process of its own. */
export interface Check {
  readonly name: string;
  /** What it answers, for the report. */
  readonly question: string;
  /** Seconds after which its process is ended. */
  readonly seconds: number;
  /** Variables of its process, in addition. */
  readonly env?: Readonly<Record<string, string>>;
  /** Kilobytes of address space that its process may take in a dry run: the processor then runs out of memory as a card does. */
  readonly dryRunKilobytes?: number;
  /** Finds more in what the engine itself has printed. */
  readonly lines?: (lines: readonly string[]) => readonly Finding[];
  run(context: Context): Promise<void>;
}
