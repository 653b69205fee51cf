import { WinnowError } from '../errors.ts';
import { percentile } from '../statistics/bootstrap.ts';
import { meanRanks } from '../statistics/friedman.ts';
import { kendall } from '../statistics/rank-correlation.ts';
import { mean } from '../statistics/samples.ts';
import { createRandom, type Random } from '../util/random.ts';
import { fixed, pValue } from './format.ts';
import { analyzeGrid } from './grid-comparison.ts';
import type { GridData } from './grid-data.ts';
import type { TableSection } from './report-model.ts';

/** Values of one backbone on one benchmark: for each objective those of its seeds. */
type SeedBlock = readonly (readonly number[])[];

const RESAMPLES = 9999;

/** Two orders of fewer objectives than this agree or not by chance. */
const LEAST_COMMON = 3;

/** Kendall's τ of each resample: seeds are drawn within a cell, and blocks among blocks, both with replacement. */
function resampledTaus(blocks: readonly SeedBlock[], theirs: readonly number[], random: Random): Float64Array {
  const seedsOf = (seeds: readonly number[]): number => mean(seeds.map(() => seeds[random.below(seeds.length)]!));
  return Float64Array.from({ length: RESAMPLES }, () => {
    const drawn = blocks.map(() => blocks[random.below(blocks.length)]!.map(seedsOf));
    return kendall(meanRanks(drawn), theirs).statistic;
  });
}

interface RankAgreement {
  readonly objectives: readonly string[];
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  readonly tau: number;
  readonly p: number;
  /** τ of each seed by itself; empty where cells have different numbers of seeds. */
  readonly bySeed: readonly number[];
  /** 95 %, over seeds and blocks. */
  readonly interval: readonly [number, number];
}

/**
 * Compares the order of objectives in blocks of values with their order in a reference grid by Kendall's τ-b of the mean ranks.
 * @param objectives names in the order of the blocks' values.
 * @throws WinnowError `invalid_input` where fewer than three objectives are in both.
 */
export function rankAgreement(
  objectives: readonly string[],
  blocks: readonly SeedBlock[],
  reference: GridData,
): RankAgreement {
  const common = objectives.filter((name) => reference.objectives.includes(name));
  if (common.length < LEAST_COMMON)
    throw new WinnowError('invalid_input', {
      where: 'grid reference',
      expected: `at least ${LEAST_COMMON} of the objectives ${reference.objectives.join(', ')}`,
      got: common.join(', ') || 'none of them',
    });
  const only = { ...reference, objectives: common };
  const theirs = [...analyzeGrid(only).objectives.averageRanks];
  const own = blocks.map((block) => common.map((name) => block[objectives.indexOf(name)]!));
  const ours = meanRanks(own.map((block) => block.map(mean)));
  const seeds = own[0]![0]!.length;
  const isEven = own.every((block) => block.every((values) => values.length === seeds));
  const bySeed = Array.from({ length: isEven ? seeds : 0 }, (_, seed) =>
    meanRanks(own.map((block) => block.map((values) => values[seed]!))),
  );
  const taus = resampledTaus(own, theirs, createRandom(0)).filter(Number.isFinite).sort();
  const { statistic: tau, p } = kendall(ours, theirs);
  return {
    objectives: common,
    ours,
    theirs,
    tau,
    p,
    bySeed: bySeed.map((ranks) => kendall(ranks, theirs).statistic),
    interval: [percentile(taus, 0.025), percentile(taus, 0.975)],
  };
}

/** Builds the table of mean ranks beside those of a reference grid. */
export function referenceTable(agreement: RankAgreement, reference: GridData): TableSection {
  const { objectives, ours, theirs, tau, p, bySeed, interval } = agreement;
  const order = objectives.map((_, i) => i).sort((a, b) => theirs[a]! - theirs[b]!);
  const seeds = bySeed.length > 1 ? ` By seed: ${bySeed.map((value) => fixed(value, 2)).join(', ')}.` : '';
  return {
    kind: 'table',
    title: `Mean ranks beside ${reference.paper}`,
    columns: [
      { label: 'objective' },
      { label: 'here', numeric: true },
      { label: reference.paper, numeric: true },
      { label: 'difference', numeric: true },
    ],
    rows: order.map((i) =>
      [objectives[i]!, fixed(ours[i]!, 2), fixed(theirs[i]!, 2), fixed(ours[i]! - theirs[i]!, 2)].map((text) => ({
        text,
      })),
    ),
    note: `Kendall’s τ of the two orders: ${fixed(tau, 2)} (p ${pValue(p)}; 95 % interval ${fixed(interval[0], 2)} to ${fixed(interval[1], 2)}, seeds and blocks drawn again).${seeds}`,
  };
}
