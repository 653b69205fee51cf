import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { WinnowError } from '../../errors.ts';
import { repeated } from '../../util/repeated.ts';
import { describeIssues, faultList } from '../../util/schema-issues.ts';
import { parseTyped, spelled } from '../../util/spelling.ts';
import { readYamlFile } from '../../util/yaml-file.ts';
import { DATASET_FORMATS } from '../formats/dataset.ts';
import { TOPIC_FIELDS } from '../formats/topic-fields.ts';
import { parseMeasures } from '../measures/measure.ts';

/** Name of the first stage among systems. */
export const FIRST_STAGE = 'first-stage';

const name = z.string().regex(/^[\w.+@ :→-]{1,80}$/u, 'expected a short name of letters, digits, dots and dashes');
const path = z.string().min(1);
const depth = z.int().min(1).max(100_000);

/** One name, which may stand for several measures (`ndcg_cut.5,10`). Comparisons are of means, so GMAP has none. */
const measure = z.string().transform((text, context) => {
  try {
    const measures = parseMeasures(text);
    if (measures.every(({ aggregate }) => aggregate !== 'geometric')) return measures.map(({ name }) => name);
    context.addIssue({
      code: 'custom',
      message: 'expected a measure that is a mean or a sum over queries, which GMAP is not',
    });
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
  }
  return z.NEVER;
});
const measures = z
  .array(measure)
  .min(1)
  .transform((names) => [...new Set(names.flat())]);

const bm25 = z.strictObject({
  k1: z.number().min(0).max(100).default(0.9),
  b: z.number().min(0).max(1).default(0.4),
  lengths: z.enum(['lucene', 'exact']).default('lucene'),
  /** Folder of an existing index; by default one is built in the folder of results. */
  index: path.optional(),
  /** Ranks only the candidate lists that come with the set. */
  within: z.literal('candidates').optional(),
});

const search = z.strictObject({
  url: z.url(),
  index: z.string().min(1),
  fields: z.array(z.string().min(1)).min(1).default(['text']),
  idField: z.string().min(1).optional(),
});

const firstStage = z.union([
  z.literal('candidates'),
  z.literal('bm25').transform(() => ({ bm25: bm25.parse({}) })),
  z.strictObject({ bm25 }),
  z.strictObject({ run: path, name: name.optional() }),
  z.strictObject({ search }),
]);

const set = z.strictObject({
  name,
  path,
  format: z.enum(DATASET_FORMATS).optional(),
  split: z.string().optional(),
  field: z.enum(TOPIC_FIELDS).optional(),
  topics: path.optional(),
  qrels: path.optional(),
  /** Files or folders of the collection. */
  corpus: z.union([path, z.array(path).min(1)]).optional(),
  relevanceLevel: z.int().min(1).optional(),
  dropSelfHits: z.boolean().optional(),
  /** Sets of one group get a column with their mean. */
  group: name.optional(),
  firstStage: firstStage.optional(),
  depth: depth.optional(),
  /** Number of judged queries to draw, by the seed of the suite; default all. */
  queries: z.int().min(1).optional(),
  measures: measures.optional(),
  /** Cross-validation folds; the report has a table of means by fold. */
  folds: path.optional(),
  /** Names under which manifests list these texts as training data; default the set's own name. */
  trainedAs: z.array(z.string().min(3)).optional(),
  /** Models known to have seen these texts, whatever their manifests say; `true` means all. */
  seen: z.union([z.boolean(), z.array(z.string())]).optional(),
});

const variant = z.enum(['auto', 'fp32', 'fp16', 'int8']);
/** Early pruning of the lists: the part of their first `topN` that has to stay. */
const prune = z.strictObject({ recall: z.number().gt(0).lt(1), topN: z.int().min(1).default(10) });
const single = z.strictObject({
  model: z.string().min(1),
  name: name.optional(),
  variant: variant.default('auto'),
  prune: prune.optional(),
});
/** How much of a stage's ranking is the scores of the stage before. */
const blend = z.number().min(0).lt(1);
const stage = z.strictObject({
  model: z.string().min(1),
  keep: z.int().min(1).optional(),
  blend: blend.optional(),
});
const cascade = z.strictObject({ name, cascade: z.array(stage).min(2) }).superRefine(({ cascade: stages }, context) => {
  stages.slice(0, -1).forEach(({ keep }, i) => {
    if (keep === undefined)
      context.addIssue({ code: 'custom', path: ['cascade', i, 'keep'], message: 'expected how many go on' });
  });
  if (stages[0]?.blend !== undefined)
    context.addIssue({
      code: 'custom',
      path: ['cascade', 0, 'blend'],
      message: 'expected none in the first stage, which has no scores before it',
    });
});

const model = z.union([
  z
    .string()
    .min(1)
    .transform((reference) => single.parse({ model: reference })),
  single,
  cascade,
]);

/** A run file of any system: one for all sets, or one a set. */
const foreign = z.strictObject({ name, run: z.union([path, z.record(name, path)]) });

const curve = z.strictObject({
  name: name.optional(),
  /** The system that prunes (or `first-stage`) and the one that finishes. */
  stages: z.tuple([z.string().min(1), z.string().min(1)]),
  keep: z.array(z.int().min(1)).min(2),
  blend: blend.default(0),
  sets: z.array(name).optional(),
});

const pairedTest = spelled(
  z.enum(['t', 'randomisation', 'wilcoxon'], { error: 'expected one of t, randomization, wilcoxon' }),
  { values: { randomisation: 'randomization' } },
);

const suiteSchema = z.strictObject({
  name,
  description: z.string().max(2000).optional(),
  seed: z.int().min(0).default(1),
  depth: depth.default(100),
  /** Measures of every set, the main one first; default each set's usual ones. */
  measures: measures.optional(),
  baseline: name.default(FIRST_STAGE),
  test: pairedTest.default('t'),
  correction: z.enum(['holm', 'bonferroni', 'benjamini-hochberg', 'none']).default('holm'),
  /** Comparisons that are corrected together: the systems on one set, or all of the suite. */
  family: z.enum(['set', 'suite']).default('set'),
  alpha: z.number().min(0.0001).max(0.5).default(0.05),
  sets: z.array(set).min(1),
  models: z.array(model).default([]),
  /** Run files of systems that do not run here. */
  systems: z.array(foreign).default([]),
  curves: z.array(curve).default([]),
});

export type Suite = z.infer<typeof suiteSchema>;
export type SetSpec = Suite['sets'][number] & {
  /** Name of the set that this one is a part of, where its path is a folder of several sets. */
  readonly partOf?: string;
};
type ModelSpec = Suite['models'][number];
export type ForeignSpec = Suite['systems'][number];
export type CurveSpec = Suite['curves'][number];
export type FirstStageSpec = NonNullable<SetSpec['firstStage']>;

export interface LoadedSuite {
  readonly suite: Suite;
  /** Folder of the file: paths inside it start there. */
  readonly folder: string;
}

/** Returns the name of a model in tables. */
export function systemName(spec: ModelSpec): string {
  if ('cascade' in spec) return spec.name;
  if (spec.name !== undefined) return spec.name;
  const variantName = spec.variant === 'auto' ? spec.model : `${spec.model} ${spec.variant}`;
  return spec.prune ? `${variantName} pruned ${spec.prune.recall}` : variantName;
}

/** Whether a system's lists lack the scores of pruned passages, which cascades and curves would need. */
const isPruned = (spec: ModelSpec): boolean => 'prune' in spec && spec.prune !== undefined;

function checkTogether(suite: Suite): string[] {
  const faults: string[] = [];
  const systems = [FIRST_STAGE, ...suite.models.map(systemName), ...suite.systems.map((system) => system.name)];
  const sets = suite.sets.map((s) => s.name);
  if (systems.length === 1) faults.push('models: expected at least 1 model, or a run file in systems, got none');
  const twice = [
    ['models', repeated(systems)],
    ['sets', repeated(sets)],
  ] as const;
  for (const [field, found] of twice)
    if (found !== undefined) faults.push(`${field}: expected each name once, got ${found} twice`);
  if (!systems.includes(suite.baseline))
    faults.push(`baseline: expected one of ${systems.join(', ')}, got ${suite.baseline}`);
  const pruned = suite.models.filter(isPruned).map(systemName);
  suite.models.forEach((spec, i) => {
    const stages = 'cascade' in spec ? spec.cascade : [];
    const at = stages.findIndex(({ model: stage }) => pruned.includes(stage));
    if (at >= 0)
      faults.push(`models.${i}.cascade.${at}.model: expected a system without prune, got ${stages[at]!.model}`);
  });
  suite.curves.forEach(({ stages, sets: wanted = [] }, i) => {
    const finishing = suite.models.filter((m) => !('cascade' in m) && !isPruned(m)).map(systemName);
    if (!finishing.includes(stages[1]))
      faults.push(`curves.${i}.stages.1: expected one of ${finishing.join(', ')}, got ${stages[1]}`);
    if (stages[0] !== FIRST_STAGE && !finishing.includes(stages[0]))
      faults.push(`curves.${i}.stages.0: expected ${FIRST_STAGE} or one of ${finishing.join(', ')}, got ${stages[0]}`);
    const unknown = wanted.find((set) => !sets.includes(set));
    if (unknown !== undefined) faults.push(`curves.${i}.sets: expected sets of the suite, got ${unknown}`);
  });
  return faults;
}

/** @throws WinnowError `invalid_input` naming every fault with its field. */
export function parseSuite(document: unknown, where: string): Suite {
  const result = parseTyped(suiteSchema, document);
  const faults = result.issues ? describeIssues(result.issues, result.document, 'suite') : checkTogether(result.data);
  if (!result.issues && faults.length === 0) return result.data;
  throw new WinnowError('invalid_input', {
    where,
    expected: 'a suite',
    got: faultList(faults),
  });
}

/** Reads a `suite.yaml`. @throws WinnowError `invalid_input` naming every fault with its field. */
export const readSuite = (file: string): LoadedSuite => ({
  suite: parseSuite(readYamlFile(file).document, file),
  folder: dirname(resolve(file)),
});

/** Cuts a suite down for a quick run: few queries, short lists. */
export const quickened = (suite: Suite, queries = 10, most = 10): Suite => ({
  ...suite,
  depth: Math.min(suite.depth, most),
  sets: suite.sets.map((s) => ({
    ...s,
    queries: Math.min(s.queries ?? queries, queries),
    ...(s.depth === undefined ? {} : { depth: Math.min(s.depth, most) }),
  })),
});
