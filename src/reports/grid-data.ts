import { z } from 'zod';
import { WinnowError } from '../errors.ts';
import { readJsonFile } from '../util/json-files.ts';
import { issueExpectation, issueField, issueFinding } from '../util/schema-issues.ts';
import paper from './paper-2603.03010.json' with { type: 'json' };

/** Results of a grid of backbones and objectives over several benchmarks, one row a pair. */
export interface GridData {
  readonly paper: string;
  readonly source: string;
  readonly measure: string;
  readonly benchmarks: readonly string[];
  readonly benchmarkNames: Readonly<Record<string, string>>;
  readonly seeds: number;
  /** Conditions and exceptions of the numbers, printed under the tables. */
  readonly notes: readonly string[];
  readonly backbones: readonly string[];
  readonly objectives: readonly string[];
  readonly rows: readonly {
    readonly backbone: string;
    readonly objective: string;
    readonly values: readonly number[];
  }[];
}

/** nDCG@10 of 9 backbones × 6 objectives on 6 benchmarks, as published. */
export const PAPER_GRID: GridData = paper;

const grid = z.object({
  paper: z.string(),
  source: z.string(),
  measure: z.string(),
  benchmarks: z.array(z.string()).min(1),
  benchmarkNames: z.record(z.string(), z.string()).default({}),
  seeds: z.number().int().positive().default(1),
  notes: z.array(z.string()).default([]),
  backbones: z.array(z.string()).min(2),
  objectives: z.array(z.string()).min(2),
  rows: z.array(z.object({ backbone: z.string(), objective: z.string(), values: z.array(z.number()) })),
});

/**
 * Reads a grid in the format of the published one.
 *
 * @throws WinnowError `invalid_input` that names the first field that is not as expected.
 */
export async function readGridData(path: string): Promise<GridData> {
  const document = await readJsonFile(path);
  const parsed = grid.safeParse(document);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new WinnowError('invalid_input', {
    where: `${path}, ${issueField(issue, 'top level')}`,
    expected: `a grid of results, here ${issueExpectation(issue)}`,
    got: issueFinding(issue, document),
  });
}
