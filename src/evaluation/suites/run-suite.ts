import { WinnowError } from '../../errors.ts';
import { isPartOf, type Shard } from '../../util/shard.ts';
import { cellFolder } from './cells.ts';
import { type Plan, type PlannedCell, planSuite } from './plan.ts';
import type { ModelGate } from './ports.ts';
import { resultsOf, type SuiteResult } from './results.ts';
import type { LoadedSuite } from './schema.ts';
import { scoreCell } from './score-cell.ts';

export interface SuiteObserver {
  /** Cells that will be computed now, those that are there already, and the pairs to score. */
  onPlan?(event: { readonly pending: number; readonly done: number; readonly pairs: number }): void;
  onPairs?(event: { readonly pairs: number; readonly set: string; readonly system: string }): void;
  onNote?(text: string): void;
}

export interface SuiteOptions {
  readonly out: string;
  /** Scores a part of the cells only. */
  readonly shard?: Shard | undefined;
  /** Score nothing: report what is there. */
  readonly reportOnly?: boolean | undefined;
  readonly authorization?: string | undefined;
  readonly observer?: SuiteObserver | undefined;
}

type SuiteOutcome =
  | {
      readonly kind: 'complete';
      readonly result: SuiteResult;
      /** Lets go of the sets' texts, which the report reads. */
      close(): Promise<void>;
    }
  | { readonly kind: 'partial'; readonly missing: readonly string[] };

function pendingOf(plan: Plan, { shard, reportOnly }: SuiteOptions): PlannedCell[] {
  if (reportOnly === true) return [];
  return plan.cells
    .filter((_, i) => shard === undefined || isPartOf(shard, i))
    .filter(({ done }) => done === undefined);
}

async function scoreAll(pending: readonly PlannedCell[], gate: ModelGate, options: SuiteOptions): Promise<void> {
  let pairs = 0;
  for (const cell of pending) {
    const names = { set: cell.set.set.spec.name, system: cell.system.name };
    await scoreCell(cell, gate, options.out, (more) => {
      pairs += more;
      options.observer?.onPairs?.({ pairs, ...names });
    });
  }
}

const closeSets = async ({ sets }: Plan): Promise<void> => {
  await Promise.all(sets.map(({ set }) => set.data.passages.close()));
};

/**
 * Runs a suite: every model scores every set's candidates once, what is finished is kept and not done again, and all is measured at the
 * end. With a shard only that part of the cells is scored; the shard that finds all cells finished measures them.
 *
 * @throws WinnowError `invalid_input` where no set or no model of the suite is there.
 */
export async function runSuite(loaded: LoadedSuite, gate: ModelGate, options: SuiteOptions): Promise<SuiteOutcome> {
  const { out, observer, authorization } = options;
  const read = (): Promise<Plan> => planSuite(loaded, gate, { out, authorization }, (text) => observer?.onNote?.(text));
  let plan = await read();
  const empty = plan.sets.length === 0 ? 'set' : plan.systems.length === 0 ? 'model' : undefined;
  if (empty !== undefined)
    throw new WinnowError('invalid_input', {
      where: `suite ${loaded.suite.name}`,
      expected: `at least 1 ${empty} that is there`,
      got: plan.leftOut.map(({ what, reason }) => `${what}: ${reason}`).join('; '),
    });
  const pending = pendingOf(plan, options);
  const pairs = pending.reduce((sum, cell) => sum + cell.pairs, 0);
  observer?.onPlan?.({
    pending: pending.length,
    done: plan.cells.filter(({ done }) => done !== undefined).length,
    pairs,
  });
  await scoreAll(pending, gate, options);
  if (options.shard !== undefined && pending.length < plan.cells.filter(({ done }) => done === undefined).length) {
    // Other shards may have finished meanwhile.
    await closeSets(plan);
    plan = await planSuite(loaded, gate, { out, authorization }, () => undefined);
  }
  const scored = new Set(pending.map(({ key, system }) => `${key} ${system.name}`));
  const missing = plan.cells
    .filter(({ done, key, system }) => done === undefined && !scored.has(`${key} ${system.name}`))
    .map(({ set, system }) => cellFolder(out, set.set.spec.name, system.name));
  if (missing.length > 0) {
    await closeSets(plan);
    return { kind: 'partial', missing };
  }
  const sets = await resultsOf(loaded, plan, out);
  const whole = plan;
  return {
    kind: 'complete',
    result: { suite: loaded.suite, sets, leftOut: plan.leftOut },
    close: () => closeSets(whole),
  };
}
