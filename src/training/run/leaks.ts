import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { writeFileAtomic } from '../../util/files.ts';
import { isObject, readJsonFile } from '../../util/json-files.ts';
import type { CandidateList, ListSource } from '../data/list-types.ts';
import { comparable, textHash } from '../data/survey/text-hash.ts';
import type { Validation } from '../measure/validation.ts';
import type { Recipe } from '../recipe/recipe.ts';

/*
 * A validation whose queries were trained on measures memory. Passages are another matter: training and validation that search one collection
 * share them as a rule, so that only queries count as a leak unless the recipe says otherwise.
 */

/** Texts of one kind that stand in the validation set and in the training lists, upper and lower case and white space apart. */
interface SharedTexts {
  readonly shared: number;
  /** Different texts of the validation set. */
  readonly of: number;
  readonly examples: readonly string[];
}

export interface Leaks {
  readonly queries: SharedTexts;
  readonly passages: SharedTexts;
}

/** Examples that are named. */
const EXAMPLES = 3;
/** Lists between two calls of `onLists`. */
const REPORTED = 10_000;

/** Texts of the validation set that have not been met yet, by hash. */
class Searched {
  readonly #left: Map<number, string>;
  readonly #of: number;
  readonly #examples: string[] = [];

  constructor(texts: ReadonlyMap<number, string>) {
    this.#left = new Map(texts);
    this.#of = texts.size;
  }

  meet(text: string): void {
    if (this.#left.size === 0) return;
    const key = textHash(comparable(text));
    const found = this.#left.get(key);
    if (found === undefined) return;
    this.#left.delete(key);
    if (this.#examples.length < EXAMPLES) this.#examples.push(found);
  }

  found(): SharedTexts {
    return { shared: this.#of - this.#left.size, of: this.#of, examples: this.#examples };
  }
}

/** Looks for the texts of a validation set in the lists that it meets. Memory is that of the validation set. */
export class LeakSearch {
  readonly #queries: Searched;
  readonly #passages: Searched;

  constructor({ texts }: Pick<Validation, 'texts'>) {
    this.#queries = new Searched(texts.queries);
    this.#passages = new Searched(texts.passages);
  }

  /** @param list a whole training list, before sampling. */
  meet({ query, passages }: Pick<CandidateList, 'query' | 'passages'>): void {
    this.#queries.meet(query);
    for (const passage of passages) this.#passages.meet(passage);
  }

  found(): Leaks {
    return { queries: this.#queries.found(), passages: this.#passages.found() };
  }
}

/**
 * Looks for the texts of a validation set in all training lists, before sampling. Memory is that of the validation set.
 * @param onLists receives the number of lists read so far, every 10,000 lists.
 */
async function findLeaks(
  validation: Pick<Validation, 'texts'>,
  source: Pick<ListSource, 'whole'>,
  onLists?: (lists: number) => void,
): Promise<Leaks> {
  const search = new LeakSearch(validation);
  let lists = 0;
  for await (const list of source.whole()) {
    search.meet(list);
    if (++lists % REPORTED === 0) onLists?.(lists);
  }
  return search.found();
}

/** Returns the first example, and that there are more. */
const quoted = ([first = '', ...more]: readonly string[]): string =>
  `${JSON.stringify(first)}${more.length > 0 ? ' …' : ''}`;

/** Returns what was found as a sentence for each kind of text; empty where nothing was. */
export function leakNotes({ queries, passages }: Leaks): readonly string[] {
  const note = (what: string, { shared, of, examples }: SharedTexts): string[] =>
    shared === 0
      ? []
      : [`${shared} of ${of} ${what} of the validation set stand in the training lists: ${quoted(examples)}`];
  return [...note('queries', queries), ...note('passages', passages)];
}

/** Refuses leaks that the recipe does not allow. @throws WinnowError `invalid_input`. */
function refuseLeaks(leaks: Leaks, allowed: 'warn' | 'refuse' | 'refuse-queries'): void {
  if (allowed === 'warn') return;
  const counted = { queries: leaks.queries, ...(allowed === 'refuse' && { passages: leaks.passages }) };
  for (const [what, { shared, of, examples }] of Object.entries(counted))
    if (shared > 0)
      throw new WinnowError('invalid_input', {
        where: 'validation',
        expected: `${what} that do not stand in the training lists (\`validation.leaks: warn\` trains nevertheless)`,
        got: `${shared} of ${of} that do: ${quoted(examples)}`,
      });
}

async function readLeaks(file: string, key: string): Promise<Leaks | undefined> {
  const known: unknown = await readJsonFile(file).catch(() => undefined);
  // Written below.
  return isObject(known) && known.key === key ? (known.leaks as Leaks) : undefined;
}

/**
 * Looks for leaks before the first step, unless the recipe allows them. What was found is kept in the run's folder, so that a run that goes on
 * does not read its data once more.
 * @returns the leaks; undefined where the recipe allows them.
 * @throws WinnowError `invalid_input` for leaks that the recipe refuses.
 */
export async function guardLeaks(
  validation: Validation,
  source: ListSource,
  settings: NonNullable<Recipe['validation']>,
  runFolder: string,
  onLists?: (lists: number) => void,
): Promise<Leaks | undefined> {
  if (settings.leaks === 'allow') return undefined;
  const file = join(runFolder, 'leaks.json');
  const key = `${validation.digest} ${source.files.map(({ sha256 }) => sha256).join(' ')}`;
  const known = await readLeaks(file, key);
  const leaks = known ?? (await findLeaks(validation, source, onLists));
  if (!known) await writeFileAtomic(file, JSON.stringify({ key, leaks }));
  refuseLeaks(leaks, settings.leaks);
  return leaks;
}
