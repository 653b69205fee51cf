import { describe, WinnowError } from '../../errors.ts';
import { isObject, readId, readJsonFile } from '../../util/json-files.ts';

/** One fold of a cross-validation: query ids of its train, dev and test parts. */
export interface Fold {
  readonly name: string;
  readonly train: readonly string[];
  readonly dev: readonly string[];
  readonly test: readonly string[];
}

function ids(value: unknown, where: string): string[] {
  if (Array.isArray(value)) return value.map((_, i) => readId(value, i, where));
  throw new WinnowError('invalid_input', { where, expected: 'a list of query ids', got: describe(value) });
}

/** Reads `{"s1": {"train_qids": […], "predict": {"dev": […], "test": […]}}}`. */
function namedFolds(path: string, root: Readonly<Record<string, unknown>>): Fold[] {
  return Object.entries(root).map(([name, fold]) => {
    const where = `${path}, fold ${name}`;
    const predict = isObject(fold) ? fold.predict : undefined;
    if (!isObject(fold) || !isObject(predict))
      throw new WinnowError('invalid_input', { where, expected: '"train_qids" and "predict"', got: describe(fold) });
    return {
      name,
      train: ids(fold.train_qids, `${where}, train_qids`),
      dev: ids(predict.dev, `${where}, predict.dev`),
      test: ids(predict.test, `${where}, predict.test`),
    };
  });
}

/** Reads a list of lists: each is the test part of one fold, the next one its dev part, the rest its train part. */
function rotatingFolds(path: string, parts: readonly unknown[]): Fold[] {
  const folds = parts.map((part, i) => ids(part, `${path}, fold ${i + 1}`));
  return folds.map((test, i) => {
    const dev = (i + 1) % folds.length;
    return { name: `s${i + 1}`, test, dev: folds[dev]!, train: folds.filter((_, j) => j !== i && j !== dev).flat() };
  });
}

/**
 * Reads cross-validation folds (Robust04's `rob04_*folds.json`).
 *
 * @throws WinnowError `invalid_input` for a query that is in the test part of two folds, or in train and test of one.
 */
export async function readFolds(path: string): Promise<Fold[]> {
  const root = await readJsonFile(path);
  if (!isObject(root) && !Array.isArray(root))
    throw new WinnowError('invalid_input', {
      where: path,
      expected: 'folds as an object or a list',
      got: describe(root),
    });
  const folds = isObject(root) ? namedFolds(path, root) : rotatingFolds(path, root);
  const tested = new Map<string, string>();
  for (const { name, train, test } of folds) {
    const leak = test.find((id) => train.includes(id));
    if (leak !== undefined)
      throw new WinnowError('invalid_input', {
        where: `${path}, fold ${name}`,
        expected: 'no query to be trained and tested on',
        got: leak,
      });
    for (const id of test) {
      if (tested.has(id))
        throw new WinnowError('invalid_input', {
          where: path,
          expected: 'each query tested in one fold',
          got: `${id} in ${tested.get(id)} and ${name}`,
        });
      tested.set(id, name);
    }
  }
  return folds;
}
