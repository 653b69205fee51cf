import { WinnowError } from '../../errors.ts';
import { explainRecipe } from '../run/explanation.ts';
import { type Cell, fullCells, searchCells } from './grid.ts';
import type { LoadedGrid } from './grid-schema.ts';

/** What the runs of a backbone with an objective take on this machine. */
export interface CellForecast {
  readonly backbone: string;
  readonly objective: string;
  /** Runs of the search and of the full grid. */
  readonly runs: { readonly search: number; readonly full: number };
  /** Steps of all runs. */
  readonly steps: number;
  /** Absent where `fault` says why there is no forecast. */
  readonly measured?: {
    readonly trainedWeights: number;
    /** Mebibytes of weights and moments, and the most that the process had in memory so far. */
    readonly memory: { readonly weightsAndMoments: number; readonly peak: number };
    readonly stepMs: number;
    /** Hours of all runs, without validations and benchmarks. */
    readonly hours: number;
  };
  readonly fault?: string;
}

/** Returns the hyper-parameters to explain with before the search has chosen: the first that it tries. */
function firstTried({ grid }: LoadedGrid): Record<string, unknown> {
  const parameters = grid.search?.parameters ?? {};
  return Object.fromEntries(Object.entries(parameters).map(([field, values]) => [field, values[0]]));
}

async function measure(cell: Cell, steps: (total: number) => number): Promise<Partial<CellForecast>> {
  try {
    const { weights, memory, time, steps: own } = await explainRecipe(cell);
    const all = steps(own.total);
    return {
      steps: all,
      measured: {
        trainedWeights: weights.trained,
        memory: { weightsAndMoments: memory.weightsAndMoments, peak: memory.peakMeasured },
        stepMs: time.stepMs,
        hours: (all * time.stepMs) / 3_600_000,
      },
    };
  } catch (error) {
    if (!(error instanceof WinnowError)) throw error;
    return { fault: error.message };
  }
}

/**
 * Forecasts the memory and time of a grid on this machine: reads the data, loads the backbone and times a few steps of one run of each backbone
 * with each objective. Runs whose files are missing are listed with the reason.
 * @yields One forecast for each backbone and objective, in the order of the grid.
 */
export async function* explainGrid(loaded: LoadedGrid): AsyncGenerator<CellForecast> {
  const search = searchCells(loaded);
  const groups = new Set(loaded.grid.backbones.map(({ group }) => group));
  const full = fullCells(loaded, new Map([...groups].map((group) => [group, firstTried(loaded)])));
  const kindOf = ({ backbone, objective }: Cell): string => JSON.stringify([backbone, objective]);
  const tried = Map.groupBy(search, kindOf);
  for (const [kind, cells] of Map.groupBy(full, kindOf)) {
    const [cell] = cells;
    if (!cell) continue;
    const own = tried.get(kind) ?? [];
    const stepsOf = (total: number): number =>
      cells.length * total + own.reduce((sum, { recipe }) => sum + recipe.steps, 0);
    const { backbone, objective } = cell;
    const runs = { search: own.length, full: cells.length };
    yield { backbone, objective, runs, steps: stepsOf(cell.recipe.steps), ...(await measure(cell, stepsOf)) };
  }
}
