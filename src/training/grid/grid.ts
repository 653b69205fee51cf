import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { WinnowError } from '../../errors.ts';
import { readJsonFile } from '../../util/json-files.ts';
import { parseJson } from '../../util/parse-json.ts';
import { writeSpelling } from '../../util/spelling.ts';
import { createObjective } from '../objectives/catalog.ts';
import { checkRecipe, hashedValidation, type LoadedRecipe, merge, recipeSchema } from '../recipe/recipe.ts';
import type { Grid, LoadedGrid } from './grid-schema.ts';

/*
 * A grid of runs: objectives × backbones × seeds, with hyper-parameters found on a part of it first. Every cell is a recipe with a folder of
 * its own, named by a hash of all that decides it, so that a grid can be stopped, shared between machines and changed without losing results.
 */

type Phase = 'search' | 'full';

/** What tells a run of the grid from the others. */
interface CellKey {
  readonly phase: Phase;
  readonly backbone: string;
  readonly group: string;
  readonly objective: string;
  readonly seed: number;
  /** Hyper-parameters by field: tried in the search, frozen in the full grid. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Name of its folder: backbone, objective, seed and a hash of the recipe. */
  readonly id: string;
}

/** One run of the grid, with its recipe. */
export interface Cell extends CellKey, LoadedRecipe {}

/** Returns a cell without its recipe, as results name it. */
export const keyOf = ({ phase, backbone, group, objective, seed, parameters, id }: Cell): CellKey => ({
  phase,
  backbone,
  group,
  objective,
  seed,
  parameters,
  id,
});

/** What a finished run of the grid came to; stored as `result.json`. */
export interface CellResult {
  readonly cell: CellKey;
  readonly step: number;
  readonly base?: number;
  /** Best value of the validation inside the run. */
  readonly validation?: number;
  /** Validations of the run, the untrained model's first: step and value. */
  readonly curve?: readonly (readonly [number, number])[];
  readonly benchmarks: Readonly<Record<string, number>>;
  /** Values of single queries; absent in results of earlier versions and of the search. */
  readonly perQuery?: Readonly<Record<string, readonly number[]>>;
  /** Why there are no values. */
  readonly failed?: string;
}

/** Returns all combinations of one value per field. */
export function combinations(parameters: Readonly<Record<string, readonly unknown[]>>): Record<string, unknown>[] {
  return Object.entries(parameters).reduce<Record<string, unknown>[]>(
    (all, [field, values]) => all.flatMap((one) => values.map((value) => ({ ...one, [field]: value }))),
    [{}],
  );
}

const nested = (field: string, value: unknown): Record<string, unknown> =>
  field.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Record<string, unknown>;

const slug = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

type Axes = Pick<Cell, 'phase' | 'seed' | 'parameters'> & {
  readonly backbone: Grid['backbones'][number];
  readonly objective: Grid['objectives'][number];
  readonly steps?: number | undefined;
};

function cellOf({ grid, folder }: LoadedGrid, axes: Axes): Cell {
  const { phase, seed, parameters, backbone } = axes;
  const objective = createObjective(axes.objective).name;
  const stem = [backbone.name, objective, seed].map((part) => slug(String(part))).join('-');
  const layers = [
    grid.recipe,
    backbone.settings,
    grid.objectiveSettings[objective] ?? {},
    ...Object.entries(parameters).map(([field, value]) => nested(field, value)),
    axes.steps === undefined ? {} : { steps: axes.steps },
    { name: `${grid.name}-${stem}`.slice(0, 64), backbone: backbone.path, objective: axes.objective, seed },
  ];
  const document = layers.reduce((under, over) => merge(under, over), {});
  const recipe = checkRecipe(document, `grid ${grid.name}, ${stem}`);
  const hashed = { ...recipe, validation: hashedValidation(recipe.validation) };
  const hash = createHash('sha256')
    .update(JSON.stringify([hashed, grid.benchmarks]))
    .digest('hex')
    .slice(0, 8);
  return {
    phase,
    backbone: backbone.name,
    group: backbone.group,
    objective,
    seed,
    parameters,
    id: `${stem}-${hash}`,
    recipe,
    folder,
    source: stringify(writeSpelling(recipeSchema, document)),
  };
}

/** Makes one cell per combination. */
function cellsOf(
  loaded: LoadedGrid,
  phase: Phase,
  of: {
    objectives: Grid['objectives'];
    backbones: Grid['backbones'];
    seeds: readonly number[];
    steps?: number | undefined;
  },
  parametersOf: (group: string) => readonly Readonly<Record<string, unknown>>[],
): Cell[] {
  return of.backbones.flatMap((backbone) =>
    parametersOf(backbone.group).flatMap((parameters) =>
      of.objectives.flatMap((objective) =>
        of.seeds.map((seed) => cellOf(loaded, { phase, backbone, objective, seed, parameters, steps: of.steps })),
      ),
    ),
  );
}

/** Returns the items of the given names, all of them without names. @throws WinnowError `invalid_input` for unknown names. */
function selectByName<T>(
  all: readonly T[],
  names: readonly string[] | undefined,
  nameOf: (item: T) => string,
  what: string,
): T[] {
  const unknown = names?.find((name) => !all.some((item) => nameOf(item) === name));
  if (unknown !== undefined)
    throw new WinnowError('invalid_input', {
      where: `grid search.${what}`,
      expected: `one of ${all.map(nameOf).join(', ')}`,
      got: unknown,
    });
  return names === undefined ? [...all] : all.filter((item) => names.includes(nameOf(item)));
}

/** Returns the cells of the search; none where the grid has no search. */
export function searchCells(loaded: LoadedGrid): Cell[] {
  const { grid } = loaded;
  const { search } = grid;
  if (!search) return [];
  const objectives = selectByName(
    grid.objectives,
    search.objectives,
    (spec) => createObjective(spec).name,
    'objectives',
  );
  const backbones = selectByName(grid.backbones, search.backbones, (backbone) => backbone.name, 'backbones');
  const tried = combinations(search.parameters);
  const cells = cellsOf(
    loaded,
    'search',
    { objectives, backbones, seeds: search.seeds ?? grid.seeds, steps: search.steps },
    () => tried,
  );
  const unmeasured = cells.find((cell) => !cell.recipe.validation);
  if (unmeasured)
    throw new WinnowError('invalid_input', {
      where: `grid ${grid.name}`,
      expected: '`recipe.validation`, by whose value the search chooses',
      got: 'none',
    });
  return cells;
}

/** Hyper-parameters found by the search, by group. */
export type Frozen = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Returns the hyper-parameters with the best mean validation, by group. Combinations with a failed run do not count. */
export function freeze(grid: Grid, results: readonly CellResult[]): Frozen {
  const { search } = grid;
  const groups = [...new Set(grid.backbones.map((backbone) => backbone.group))];
  return new Map(
    groups.map((group) => {
      // A group without a search run takes the best of all groups.
      const own = results.filter(({ cell }) => cell.group === group);
      const seen = search?.by === 'all' || own.length === 0 ? results : own;
      const byParameters = Map.groupBy(seen, ({ cell }) => JSON.stringify(cell.parameters));
      const ranked = [...byParameters]
        .filter(([, runs]) => runs.every((run) => run.validation !== undefined && Number.isFinite(run.validation)))
        .map(([key, runs]) => ({ key, value: meanOf(runs.map((run) => run.validation!)) }))
        .sort((a, b) => b.value - a.value);
      if (search && ranked.length === 0)
        throw new WinnowError('invalid_input', {
          where: `grid ${grid.name}, group ${group}`,
          expected: 'a combination that trains',
          got: 'none',
        });
      return [group, search ? (parseJson(ranked[0]!.key) as Record<string, unknown>) : {}];
    }),
  );
}

/** Returns the cells of the full grid with the hyper-parameters found. */
export const fullCells = (loaded: LoadedGrid, frozen: Frozen): Cell[] =>
  cellsOf(loaded, 'full', loaded.grid, (group) => [frozen.get(group) ?? {}]);

/** Returns the run folder of a cell. */
export const folderOf = (runFolder: string, cell: Cell): string => join(runFolder, cell.phase, cell.id);
/** Returns the file of a cell's result. */
export const resultFile = (runFolder: string, cell: Cell): string => join(folderOf(runFolder, cell), 'result.json');

/** Reads the results of finished cells. Returns them and the cells without one. */
export async function collect(
  runFolder: string,
  cells: readonly Cell[],
): Promise<{ done: CellResult[]; missing: Cell[] }> {
  const missing = cells.filter((cell) => !existsSync(resultFile(runFolder, cell)));
  const there = cells.filter((cell) => !missing.includes(cell));
  return {
    done: await Promise.all(there.map(async (cell) => (await readJsonFile(resultFile(runFolder, cell))) as CellResult)),
    missing,
  };
}
