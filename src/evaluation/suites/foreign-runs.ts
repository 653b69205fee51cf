import { existsSync } from 'node:fs';
import { WinnowError } from '../../errors.ts';
import { readRun } from '../formats/run.ts';
import type { Run } from '../measures/evaluation.ts';
import type { ForeignSpec, LoadedSuite } from './suite-schema.ts';
import { type LeftOut, type OpenSet, pathIn } from './suite-set.ts';

/** A run file of a system that does not run here. */
export interface ForeignRun {
  readonly system: string;
  /** Path as the suite has it. */
  readonly file: string;
  readonly path: string;
  /** The set that the file is for; absent if it is for all. */
  readonly set: string | undefined;
}

const filesOf = ({ name: system, run }: ForeignSpec, folder: string): ForeignRun[] =>
  typeof run === 'string'
    ? [{ system, file: run, path: pathIn(folder, run), set: undefined }]
    : Object.entries(run).map(([set, file]) => ({ system, file, path: pathIn(folder, file), set }));

/**
 * Finds the run files of a suite; one whose path does not exist is left out.
 *
 * @param sets names of the sets, parts of a folder of sets by their own names.
 * @throws WinnowError `invalid_input` for a run of a set that the suite does not have.
 */
export function foreignRuns({ suite, folder }: LoadedSuite, sets: readonly string[]): (ForeignRun | LeftOut)[] {
  const runs = suite.systems.flatMap((spec) => filesOf(spec, folder));
  const unknown = runs.find(({ set }) => set !== undefined && !sets.includes(set));
  if (unknown)
    throw new WinnowError('invalid_input', {
      where: `system ${unknown.system}`,
      expected: `runs of the sets ${sets.join(', ')}`,
      got: `${unknown.set}`,
    });
  return runs.map((run) => (existsSync(run.path) ? run : { what: run.system, reason: `nothing at ${run.file}` }));
}

type JudgedSets = readonly Pick<OpenSet, 'name' | 'qrels'>[];

/** @throws WinnowError `invalid_input` if a list of a run for all sets would count for two of them. */
function refuseShared(foreign: ForeignRun, run: Run, sets: JudgedSets): void {
  if (foreign.set !== undefined) return;
  for (const qid of run.keys()) {
    const [first, second] = sets.filter(({ qrels }) => qrels.has(qid));
    if (first !== undefined && second !== undefined)
      throw new WinnowError('invalid_input', {
        where: `system ${foreign.system}`,
        expected: `a run file for each set, as in run: { ${first.name}: FILE }`,
        got: `${foreign.file} for all sets; query ${qid} is in ${first.name} and ${second.name}`,
      });
  }
}

async function readChecked(foreign: ForeignRun, sets: JudgedSets): Promise<Run> {
  const run = await readRun(foreign.path);
  refuseShared(foreign, run, sets);
  return run;
}

/** Files that were read; a file for all sets is read once. */
const READ = new WeakMap<ForeignRun, Promise<Run>>();

/**
 * Reads a run file, each list whole and in trec_eval's order.
 *
 * @param sets the sets of the suite.
 * @throws WinnowError `invalid_input` with file and line; also for a run for all sets with a query of two of them.
 */
export function readForeign(foreign: ForeignRun, sets: JudgedSets): Promise<Run> {
  const read = READ.get(foreign) ?? readChecked(foreign, sets);
  READ.set(foreign, read);
  return read;
}
