import { cpuBudget } from './cgroup.ts';
import { type Layout, layouts } from './host-layout.ts';
import { createHostPool, type PoolOptions, type SupervisedPool } from './host-pool.ts';
import type { InferenceRow, LoadSpec } from './inference-types.ts';

export interface Trial extends Layout {
  /** Rows per second in the best round. */
  readonly rowsPerSecond: number;
}

interface CalibrationOptions extends Pick<PoolOptions, 'env' | 'loadTimeoutMs' | 'startTimeoutMs'> {
  /** Layouts to measure. Default: every even division of the CPU budget. */
  readonly candidates?: readonly Layout[];
  /** Measured rounds of each layout, after one that warms it up; the best counts. Default: 3. */
  readonly rounds?: number;
  /** Rows that a round scores. Default: 48 rows of 16 to 256 tokens. */
  readonly rows?: readonly InferenceRow[];
  readonly onTrial?: (trial: Trial) => void;
}

interface Calibration {
  readonly best: Layout;
  readonly trials: readonly Trial[];
}

/** Smaller gains count as noise: the layout with fewer processes is kept, because it takes less memory. */
const NOISE = 1.03;
const BATCH_TOKENS = 1024;

/**
 * Returns rows over the usual lengths of passages, longest first. Ids below 100 are in every vocabulary; the speed does not depend on them.
 */
export function syntheticRows(maxLength: number, count = 48): InferenceRow[] {
  const longest = Math.min(256, maxLength);
  const shortest = Math.min(16, longest);
  return Array.from({ length: count }, (_, r) => {
    const length = Math.round(longest - ((longest - shortest) * r) / Math.max(1, count - 1));
    return { ids: Int32Array.from({ length }, (_, c) => 5 + ((r + c) % 90)), secondSegment: Math.min(8, length) };
  });
}

/** Cuts the rows, longest first, into batches of at most BATCH_TOKENS padded tokens, and into at least two batches for each host. */
function batchesOf(rows: readonly InferenceRow[], hosts: number): InferenceRow[][] {
  const most = Math.max(1, Math.floor(rows.length / (2 * hosts)));
  const batches: InferenceRow[][] = [];
  for (const row of rows.toSorted((a, b) => b.ids.length - a.ids.length)) {
    const last = batches.at(-1);
    if (last && last.length < most && (last.length + 1) * last[0]!.ids.length <= BATCH_TOKENS) last.push(row);
    else batches.push([row]);
  }
  return batches;
}

/** Returns the fastest layout; among layouts within `NOISE` of each other, the one with the fewest hosts. */
export function fastest(trials: readonly Trial[]): Layout {
  const [first, ...others] = trials.toSorted((a, b) => a.hosts - b.hosts);
  if (!first) throw new RangeError('expected at least 1 trial, got 0');
  const best = others.reduce((kept, next) => (next.rowsPerSecond > kept.rowsPerSecond * NOISE ? next : kept), first);
  return { hosts: best.hosts, threads: best.threads };
}

async function round(pool: SupervisedPool, key: string, batches: readonly InferenceRow[][]): Promise<number> {
  const start = performance.now();
  const answers = await Promise.all(batches.map((batch) => pool.run(key, batch)));
  const rows = answers.reduce((sum, { scores, pieces }) => sum + (pieces ?? scores).length, 0);
  return (1000 * rows) / (performance.now() - start);
}

/**
 * Measures which layout scores a model fastest on the CPU of this machine. Starts every layout, warms it up by one round and measures it on
 * the same rows. Meant for start-up, before there is traffic.
 * @throws WinnowError of loading and running the model.
 */
export async function calibrate(spec: LoadSpec, options: CalibrationOptions = {}): Promise<Calibration> {
  const {
    candidates = layouts(cpuBudget()),
    rounds = 3,
    rows = syntheticRows(spec.maxLength),
    onTrial,
    ...pooling
  } = options;
  const trials: Trial[] = [];
  for (const layout of candidates) {
    const pool = await createHostPool({ ...pooling, provider: 'cpu', ...layout, maxRssBytes: 0 });
    try {
      await pool.load(spec);
      const batches = batchesOf(rows, layout.hosts);
      await round(pool, spec.key, batches);
      let rowsPerSecond = 0;
      for (let r = 0; r < rounds; r++) rowsPerSecond = Math.max(rowsPerSecond, await round(pool, spec.key, batches));
      const trial = { ...layout, rowsPerSecond };
      trials.push(trial);
      onTrial?.(trial);
    } finally {
      await pool.close();
    }
  }
  return { best: fastest(trials), trials };
}
