import { WinnowError } from '../../errors.ts';
import { isPartOf, type Shard } from '../../util/shard.ts';
import { cellFolder } from './cells.ts';
import { scoreCell } from './score-cell.ts';
import type { SuiteModels } from './suite-models.ts';
import { measureSuite, type SuiteResult } from './suite-results.ts';
import type { LoadedSuite } from './suite-schema.ts';
import { prepareSuite, type SuiteWork, type WorkCell } from './suite-work.ts';

export interface SuiteObserver {
  /** Called before scoring: cells to compute now, cells already finished, pairs to score. */
  onWork?(event: { readonly pending: number; readonly done: number; readonly pairs: number }): void;
  onPairs?(event: { readonly pairs: number; readonly set: string; readonly system: string }): void;
  onNote?(text: string): void;
}

export interface SuiteOptions {
  readonly out: string;
  /** Scores a part of the cells only. */
  readonly shard?: Shard | undefined;
  /** Scores nothing: measures the cells that are finished. */
  readonly reportOnly?: boolean | undefined;
  readonly authorization?: string | undefined;
  readonly observer?: SuiteObserver | undefined;
}

type SuiteOutcome =
  | {
      readonly kind: 'complete';
      readonly result: SuiteResult;
      /** Closes the sets' texts, which the report reads. */
      close(): Promise<void>;
    }
  | { readonly kind: 'partial'; readonly missing: readonly string[] };

const unfinished = ({ cells }: SuiteWork): WorkCell[] => cells.filter(({ done }) => done === undefined);

function pendingOf(work: SuiteWork, { shard, reportOnly }: SuiteOptions): WorkCell[] {
  if (reportOnly === true) return [];
  const mine = work.cells.filter((_, i) => shard === undefined || isPartOf(shard, i));
  return mine.filter(({ done }) => done === undefined);
}

async function scoreAll(pending: readonly WorkCell[], models: SuiteModels, options: SuiteOptions): Promise<void> {
  let pairs = 0;
  for (const cell of pending) {
    const names = { set: cell.set.name, system: cell.system.name };
    const facts = await scoreCell(cell, models, options.out, (more) => {
      pairs += more;
      options.observer?.onPairs?.({ pairs, ...names });
    });
    const { truncatedQueries: cut = 0 } = facts;
    const all = cell.set.queries.size;
    if (cut > 0) options.observer?.onNote?.(`${names.set}: ${names.system} left out text of ${cut} of ${all} queries`);
  }
}

const closeSets = async ({ sets }: SuiteWork): Promise<void> => {
  await Promise.all(sets.map(({ data }) => data.passages.close()));
};

/** @throws WinnowError `invalid_input` if no set is left, or neither a model nor a run file. */
function refuseEmpty(work: SuiteWork, suite: string): void {
  const empty =
    work.sets.length === 0 ? 'set' : work.systems.length + work.foreign.length === 0 ? 'model or run file' : undefined;
  if (empty === undefined) return;
  throw new WinnowError('invalid_input', {
    where: `suite ${suite}`,
    expected: `at least 1 ${empty} that is there`,
    got: work.leftOut.map(({ what, reason }) => `${what}: ${reason}`).join('; '),
  });
}

function announce(work: SuiteWork, pending: readonly WorkCell[], observer: SuiteObserver | undefined): void {
  observer?.onWork?.({
    pending: pending.length,
    done: work.cells.length - unfinished(work).length,
    pairs: pending.reduce((sum, cell) => sum + cell.pairs, 0),
  });
}

const idOf = ({ key, system }: WorkCell): string => `${key} ${system.name}`;

/**
 * Runs a suite: scores every set's candidates once with every model, reuses finished cells and measures everything at the end. With a shard
 * it scores that part of the cells only; the shard that finds all cells finished measures them.
 *
 * @throws WinnowError `invalid_input` if no set or no model of the suite exists.
 */
export async function runSuite(loaded: LoadedSuite, models: SuiteModels, options: SuiteOptions): Promise<SuiteOutcome> {
  const { out, observer, authorization } = options;
  const { suite } = loaded;
  let work = await prepareSuite(loaded, models, { out, authorization }, (text) => observer?.onNote?.(text));
  refuseEmpty(work, suite.name);
  const pending = pendingOf(work, options);
  announce(work, pending, observer);
  await scoreAll(pending, models, options);
  if (options.shard !== undefined && pending.length < unfinished(work).length) {
    // Other shards may have finished in the meantime.
    await closeSets(work);
    work = await prepareSuite(loaded, models, { out, authorization }, () => undefined);
  }
  const close = (): Promise<void> => closeSets(work);
  const scored = new Set(pending.map(idOf));
  const missing = unfinished(work)
    .filter((cell) => !scored.has(idOf(cell)))
    .map(({ set, system }) => cellFolder(out, set.name, system.name));
  if (missing.length > 0) {
    await close();
    return { kind: 'partial', missing };
  }
  const result = { suite, sets: await measureSuite(loaded, work, out), leftOut: work.leftOut };
  return { kind: 'complete', result, close };
}
