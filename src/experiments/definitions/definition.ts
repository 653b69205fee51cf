import { createHash } from 'node:crypto';
import { z } from 'zod';
import { WinnowError } from '../../errors.ts';
import { issueExpectation, issueField, issueFinding } from '../../util/schema-issues.ts';
import { kebabCase, readSpelling, warnOfOld } from '../../util/spelling.ts';
import { parseYaml } from '../../util/yaml-file.ts';

/*
 * The definition of an experiment. One schema serves experiments.yaml, the admin API and the console. `configHash` names a definition by
 * its content, so that every exposure says under which definition it was made.
 */

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, 'expected 1 to 64 letters, digits, `_`, `.`, `-`');
const share = z.number().min(0).max(1);

const metricSchema = z
  .strictObject({
    name,
    kind: z
      .enum(['mean', 'ratio'])
      .default('mean')
      .describe('mean: sum of outcomes a unit; ratio: sum of outcomes over sum of `denominator`.'),
    direction: z.enum(['up', 'down']).default('up').describe('Which way is better.'),
    numerator: name.optional().describe('Ratio metrics: the metric that is divided; the one of this name by default.'),
    denominator: name.optional().describe('Ratio metrics: the metric that divides; `exposures` counts requests.'),
    covariate: name
      .optional()
      .describe(
        'Metric recorded before the first exposure, for variance reduction (CUPED); the metric itself by default.',
      ),
    min: z.number().optional().describe('Least value of an outcome; smaller ones are refused.'),
    max: z.number().optional().describe('Largest value of an outcome; larger ones are refused.'),
  })
  .refine((m) => m.kind === 'ratio' || m.numerator === undefined, {
    message: 'expected no `numerator` for a mean',
    path: ['numerator'],
  })
  .refine((m) => m.kind === 'mean' || m.denominator !== undefined, {
    message: 'expected `denominator` for a ratio metric',
    path: ['denominator'],
  })
  .refine((m) => (m.min ?? Number.NEGATIVE_INFINITY) <= (m.max ?? Number.POSITIVE_INFINITY), {
    message: 'expected at least `min`',
    path: ['max'],
  });

const armSchema = z.strictObject({
  name,
  model: z.string().min(1).describe('`model`, `model@version` or `model:label`.'),
  weight: z.number().positive().default(1),
  // Without a default: definitions of older releases keep their hash.
  instruction: z
    .string()
    .min(1)
    .max(10_000)
    .optional()
    .describe('What a model with a template looks for, in place of the instruction of requests.'),
});

const guardrailSchema = z.strictObject({
  metric: z.enum(['errors', 'latency_p95_ms']),
  max: z
    .number()
    .nonnegative()
    .describe(
      'errors: share of requests that failed; latency_p95_ms: milliseconds. An arm above it is taken out if it is worse than control.',
    ),
  minRequests: z.number().int().min(1).default(200).describe('Requests of an arm before the guardrail may act.'),
});

const whenSchema = z.strictObject({
  model: z.string().optional().describe('Only requests that name this model (or none, if it is the default).'),
  key: z.string().optional().describe('Only requests made with the API key of this name.'),
  header: z
    .record(z.string().regex(/^[A-Za-z0-9-]+$/, 'expected the name of a header'), z.string())
    .optional()
    .describe('Only requests whose headers have these values.'),
});

function checkArms(
  e: { arms: { name: string }[]; control: string; mode: string; method: string; sticky?: boolean | undefined },
  context: z.RefinementCtx,
): void {
  const names = e.arms.map((arm) => arm.name);
  names.forEach((n, i) => {
    if (names.indexOf(n) !== i)
      context.addIssue({
        code: 'custom',
        message: `expected distinct arm names, got ${n} twice`,
        path: ['arms', i, 'name'],
      });
  });
  if (!names.includes(e.control))
    context.addIssue({
      code: 'custom',
      message: `expected one of ${names.join(', ')}, got ${e.control}`,
      path: ['control'],
    });
  if (e.sticky && e.mode !== 'split')
    context.addIssue({
      code: 'custom',
      message: `expected no \`sticky\` for mode ${e.mode}, in which units have no arm of their own`,
      path: ['sticky'],
    });
  if (e.mode === 'interleave' && e.method === 'balanced' && names.length !== 2)
    context.addIssue({
      code: 'custom',
      message: `expected 2 arms for balanced interleaving, got ${names.length}`,
      path: ['method'],
    });
}

function checkRangesAndMetrics(
  e: {
    namespace?: { range: number[] } | undefined;
    start?: string | undefined;
    end?: string | undefined;
    metrics: { name: string; denominator?: string | undefined }[];
  },
  context: z.RefinementCtx,
): void {
  if (e.namespace && e.namespace.range[0]! >= e.namespace.range[1]!)
    context.addIssue({ code: 'custom', message: 'expected a range that rises', path: ['namespace', 'range'] });
  if (e.start && e.end && Date.parse(e.start) >= Date.parse(e.end))
    context.addIssue({
      code: 'custom',
      message: `expected a time after start (${e.start}), got ${e.end}`,
      path: ['end'],
    });
  e.metrics.forEach((m, i) => {
    if (e.metrics.findIndex((other) => other.name === m.name) !== i)
      context.addIssue({
        code: 'custom',
        message: `expected distinct metric names, got ${m.name} twice`,
        path: ['metrics', i, 'name'],
      });
  });
}

/** One experiment. */
export const experimentSchema = z
  .strictObject({
    name,
    mode: z.enum(['split', 'interleave', 'shadow']).default('split'),
    method: z.enum(['team_draft', 'balanced']).default('team_draft').describe('How `interleave` merges rankings.'),
    unit: z
      .enum(['user', 'session', 'query'])
      .default('user')
      .describe('What is hashed; the query where a request names no unit.'),
    hash: z
      .strictObject({
        seed: z.string().optional().describe('The name by default.'),
        version: z.union([z.literal(1), z.literal(2)]).default(2),
      })
      .prefault({}),
    coverage: share
      .default(1)
      .describe('Share of units in the experiment; raising it never moves a unit between arms.'),
    namespace: z
      .strictObject({ name, range: z.array(share).min(2).max(2) })
      .optional()
      .describe('Experiments with disjoint ranges of a namespace exclude each other.'),
    when: whenSchema.optional(),
    arms: z.array(armSchema).min(2).max(10),
    control: name,
    metrics: z.array(metricSchema).min(1).max(20),
    guardrails: z.array(guardrailSchema).default([]),
    start: z.iso.datetime({ offset: true }).optional(),
    end: z.iso.datetime({ offset: true }).optional(),
    // Without a default: definitions of older releases keep their hash.
    sticky: z
      .boolean()
      .optional()
      .describe('true: a unit keeps the arm of its first stored exposure when weights or coverage change.'),
    enabled: z.boolean().default(true),
  })
  .superRefine((e, context) => {
    checkArms(e, context);
    checkRangesAndMetrics(e, context);
  });

const experimentsFileSchema = z
  .strictObject({ experiments: z.array(experimentSchema).max(100) })
  .superRefine((file, context) => {
    file.experiments.forEach((e, i) => {
      if (file.experiments.findIndex((other) => other.name === e.name) !== i)
        context.addIssue({
          code: 'custom',
          message: `expected distinct names, got ${e.name} twice`,
          path: ['experiments', i, 'name'],
        });
    });
  });

export type Experiment = z.infer<typeof experimentSchema>;
export type Metric = Experiment['metrics'][number];
export type Arm = Experiment['arms'][number];

/** Returns the metric whose outcomes a metric adds up. */
export const summedBy = ({ name: own, numerator }: Pick<Metric, 'name' | 'numerator'>): string => numerator ?? own;
export type Guardrail = Experiment['guardrails'][number];

/** Returns the name of a definition's content: 12 hex digits of the SHA-256 of its canonical JSON. */
export function configHash(experiment: unknown): string {
  const canonical = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(canonical)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(
            Object.entries(value)
              .sort(([a], [b]) => (a < b ? -1 : 1))
              .map(([k, v]) => [k, canonical(v)]),
          )
        : value;
  return createHash('sha256')
    .update(JSON.stringify(canonical(experiment)))
    .digest('hex')
    .slice(0, 12);
}

/** Parses by a schema. @throws WinnowError `invalid_experiments` naming the first fault's field and how many more there are. */
function parseOrThrow<T>(
  schema: z.ZodType<T>,
  document: unknown,
  file: string,
  found: readonly z.core.$ZodIssue[] = [],
): T {
  const result = schema.safeParse(document);
  if (result.success && found.length === 0) return result.data;
  const issues = [...found, ...(result.error?.issues ?? [])];
  const [first] = issues;
  const more = issues.length - 1;
  const field = issueField(first!, 'document');
  throw new WinnowError('invalid_experiments', {
    file,
    expected: issueExpectation(first!, kebabCase),
    got: issueFinding(first!, document),
    field: more > 0 ? `${field}; ${more} more fault${more > 1 ? 's' : ''}` : field,
  });
}

/** Checks a stored definition. @throws WinnowError `invalid_experiments`. */
export function checkExperiment(document: unknown, file: string): Experiment {
  return parseOrThrow(experimentSchema, document, file);
}

/** Parses a definition that a client has sent; keys and values may have either spelling. @throws WinnowError `invalid_experiments`. */
export function readExperiment(document: unknown, file: string): Experiment {
  const { document: respelled, issues } = readSpelling(experimentSchema, document);
  return parseOrThrow(experimentSchema, respelled, file, issues);
}

/**
 * Parses the text of experiments.yaml; an empty one defines no experiment.
 * @throws WinnowError `invalid_experiments`, with the line for text that is not YAML.
 */
export function parseExperiments(text: string, file: string): readonly Experiment[] {
  let document: unknown;
  try {
    document = parseYaml(text);
  } catch (error) {
    const at = (error as { linePos?: readonly { line: number }[] }).linePos?.[0]?.line;
    throw new WinnowError('invalid_experiments', {
      file,
      expected: 'YAML',
      got: (error as Error).message.split('\n')[0]!,
      field: at ? `line ${at}` : 'document',
    });
  }
  const { document: respelled, old, issues } = readSpelling(experimentsFileSchema, document ?? { experiments: [] });
  warnOfOld(old);
  return parseOrThrow(experimentsFileSchema, respelled, file, issues).experiments;
}
