import { WinnowError } from '../../errors.ts';
import type { EncodedRow, PairOptions, PairTokenizer } from '../../tokenization/tokenization-types.ts';
import { repeated } from '../../util/repeated.ts';
import { openValidation, type ScoredQuery, type Validation, type ValidationSettings } from './validation.ts';

/*
 * One validation decides which weights are the best. Further measures of its scores, the loss of its lists and further sets are recorded
 * beside its value and decide nothing.
 */

/** A set that is measured beside the validation. */
type FurtherSet = Omit<ValidationSettings, 'measure'> & { readonly name: string; readonly measures: readonly string[] };

interface Settings extends ValidationSettings {
  readonly measures?: readonly string[] | undefined;
  readonly sets?: readonly FurtherSet[] | undefined;
}

/** Returns the mean loss of lists with these scores; undefined where the objective cannot judge them. */
export type LossOf = (lists: readonly ScoredQuery[]) => Promise<number | undefined>;

type Score = (rows: readonly EncodedRow[]) => Promise<Float32Array>;

export interface Validations extends Validation {
  /** Returns the value that decides, and all others by the name of their column. */
  all(
    score: Score,
    loss: LossOf,
  ): Promise<{ readonly value: number; readonly others: Readonly<Record<string, number>> }>;
}

/** Returns the values of one set by column, the loss among them. */
async function columnsOf(
  set: Validation,
  measures: readonly string[],
  prefix: string,
  score: Score,
  loss: LossOf,
): Promise<{ readonly value: number; readonly others: Record<string, number> }> {
  const scored = set.queriesOf(await score(set.rows));
  const others: Record<string, number> = {};
  for (const name of measures) others[`${prefix}${name}`] = set.measured(scored, name);
  const lost = await loss(scored);
  if (lost !== undefined) others[`${prefix}loss`] = lost;
  return { value: set.measured(scored), others };
}

const union = <K, V>(maps: readonly ReadonlyMap<K, V>[]): ReadonlyMap<K, V> => new Map(maps.flatMap((map) => [...map]));

/**
 * Opens the validation of a recipe with its further sets.
 * @throws WinnowError `invalid_input` where a set has no judged query with candidates, or two have one name.
 */
export async function openValidations(
  { measures = [], sets = [], ...settings }: Settings,
  folder: string,
  tokenizer: PairTokenizer,
  pairs: PairOptions,
): Promise<Validations> {
  const twice = repeated(sets.map(({ name }) => name));
  if (twice !== undefined)
    throw new WinnowError('invalid_input', {
      where: 'validation.sets',
      expected: 'each name once',
      got: `${twice} twice`,
    });
  const main = await openValidation(settings, folder, tokenizer, pairs, { further: measures });
  const further = await Promise.all(
    sets.map(async ({ name, measures: [measure = settings.measure, ...rest], ...set }) => ({
      name,
      rest,
      set: await openValidation({ ...set, measure }, folder, tokenizer, pairs, { further: rest }),
    })),
  );
  const all = [main, ...further.map(({ set }) => set)];
  return {
    ...main,
    texts: {
      queries: union(all.map(({ texts }) => texts.queries)),
      passages: union(all.map(({ texts }) => texts.passages)),
    },
    notes: all.flatMap(({ notes }) => notes),
    async all(score, loss) {
      const { value, others } = await columnsOf(main, measures, '', score, loss);
      for (const { name, set, rest } of further) {
        const own = await columnsOf(set, rest, `${name} `, score, loss);
        Object.assign(others, { [`${name} ${set.measure}`]: own.value }, own.others);
      }
      return { value, others };
    },
  };
}
