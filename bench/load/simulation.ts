import { STAGES, type Stage, type StageSeconds } from './threads.ts';

/** The machine that is simulated. */
export interface Machine {
  readonly cores: number;
  readonly tokenizers: number;
  readonly hosts: number;
}

/** The rate that a machine reaches, and what prevents a higher one. */
export interface Simulated {
  readonly rowsPerSecond: number;
  readonly limit: Stage | 'cores';
  /** Rows a second by what could limit them. */
  readonly limits: Readonly<Record<Stage | 'cores', number>>;
}

/**
 * Computes the rows a second of a machine from processor time a row. Stages overlap; each has threads of its own, and none can use more than
 * its threads, nor all together more than the cores. The collector's helpers and file reads run on threads that the cores alone limit.
 * @param perRow Seconds of processor time a row, by stage.
 */
export function simulate(perRow: StageSeconds, { cores, tokenizers, hosts }: Machine): Simulated {
  const all = STAGES.reduce((sum, stage) => sum + perRow[stage], 0);
  const limits = {
    'event loop': 1 / perRow['event loop'],
    tokenizer: tokenizers / perRow.tokenizer,
    'collector and files': Number.POSITIVE_INFINITY,
    host: hosts / perRow.host,
    cores: cores / all,
  };
  const limit = ([...STAGES, 'cores'] as const).reduce((least, next) => (limits[next] < limits[least] ? next : least));
  return { rowsPerSecond: limits[limit], limit, limits };
}
