import { z } from 'zod';
import { DEFINITION_HASH } from '../../experiments/analysis/period.ts';
import { experimentSchema } from '../../experiments/definitions/definition.ts';
import { outcomesSchema } from '../../experiments/recording/outcomes.ts';

/* Schemas of bodies, queries and answers of the experiment routes; openapi.yaml is generated from them. */

export { outcomesSchema };

const count = z.number().int().min(0);
const time = z.number().meta({ description: 'Milliseconds since 1970.' });

/** A definition as clients send it; its name is optional because the path has it. */
export const experimentRequest = z
  .strictObject({ ...experimentSchema.shape, name: experimentSchema.shape.name.optional() })
  .meta({ id: 'ExperimentRequest' });

const definition = z.looseObject({ name: z.string(), mode: z.string() }).meta({ id: 'ExperimentDefinition' });

export const experimentView = z
  .object({
    name: z.string(),
    mode: z.enum(['split', 'interleave', 'shadow']),
    status: z.enum(['running', 'scheduled', 'ended', 'disabled']),
    source: z
      .enum(['file', 'api'])
      .meta({ description: '`file`: defined in experiments.yaml; `api`: by PUT, removed by DELETE.' }),
    configHash: z.string().meta({ description: 'Hash of the definition.' }),
    tripped: z.array(z.string()).meta({ description: 'Arms that guardrails disabled.' }),
    definition,
    warnings: z
      .array(z.string())
      .optional()
      .meta({ description: 'Answer to PUT: what the change does to units that were seen, and to figures.' }),
  })
  .meta({ id: 'Experiment' });

export const experimentList = z.object({ experiments: z.array(experimentView) }).meta({ id: 'ExperimentList' });

const stored = z.object({ status: z.enum(['stored', 'duplicate']), key: z.string() }).meta({ id: 'OutcomeResult' });

export const outcomesAnswer = z
  .union([
    stored,
    z.object({
      stored: count,
      duplicates: count,
      conflicts: count.meta({ description: 'Key and metric are stored with other content, which stays.' }),
      unknown: count,
      results: z.array(z.object({ status: z.enum(['stored', 'duplicate', 'conflict', 'unknown']), key: z.string() })),
    }),
  ])
  .meta({
    id: 'OutcomesAnswer',
    description: 'For an array: results in its order; unknown and conflicting outcomes are not stored.',
  });

export const auditList = z
  .object({
    audits: z.array(
      z.object({
        at: time,
        who: z.string(),
        experiment: z.string(),
        action: z.enum(['created', 'changed', 'removed', 'tripped']),
        configHash: z.string(),
        diff: z.string(),
      }),
    ),
  })
  .meta({ id: 'ExperimentAudits' });

const interval = z.array(z.number()).min(2).max(2);
const inference = z
  .object({ interval, liftInterval: interval.optional(), p: z.number() })
  .meta({ id: 'Inference', description: 'Interval of the difference to control, and relative to control.' });

const comparison = {
  arm: z.string(),
  difference: z.number(),
  lift: z.number().optional().meta({ description: 'Difference ÷ control; absent where control is 0.' }),
  fixed: inference,
  alwaysValid: inference,
};

const metricSection = z
  .object({
    name: z.string(),
    kind: z.enum(['mean', 'ratio']),
    direction: z.enum(['up', 'down']),
    numerator: z.string().optional(),
    denominator: z.string().optional(),
    primary: z.boolean(),
    cuped: z.object({ theta: z.number(), correlation: z.number(), varianceReduction: z.number() }).optional().meta({
      description:
        'Variance reduction by values of the units before the experiment; absent where these do not correlate.',
    }),
    arms: z.array(
      z.object({
        arm: z.string(),
        n: count,
        value: z.number(),
        unadjusted: z.number(),
        variance: z.number(),
        unadjustedVariance: z.number(),
      }),
    ),
    comparisons: z.array(
      z.object({
        ...comparison,
        standardError: z.number(),
        adjustedP: z.number().meta({ description: 'Always-valid p-value after Holm over arms and metrics.' }),
        adjustedFixedP: z.number(),
        effect: z.enum(['better', 'worse', 'none']),
      }),
    ),
  })
  .meta({ id: 'MetricSection' });

const creditSection = z
  .object({
    metric: z.string(),
    requests: count,
    preferences: z.array(
      z.object({
        arm: z.string(),
        wins: count,
        losses: count,
        ties: count,
        preference: z.number().meta({ description: '(Wins − losses) ÷ answers with an outcome.' }),
        bootstrap: interval,
        adjustedP: z.number().meta({ description: 'Always-valid p-value after Holm over arms and metrics.' }),
        standardError: z.number(),
        fixed: inference,
        alwaysValid: inference,
      }),
    ),
  })
  .meta({ id: 'CreditSection' });

export const experimentReport = z
  .object({
    experiment: z.string(),
    mode: z.enum(['split', 'interleave', 'shadow']),
    configHash: z.string(),
    alpha: z.number(),
    from: time.optional(),
    to: time.optional(),
    since: time.optional().meta({ description: 'Exposures before are left out; absent where all count.' }),
    definitions: z
      .array(z.object({ configHash: z.string(), requests: count, firstAt: time, lastAt: time }))
      .meta({ description: 'Every definition with exposures, oldest first.' }),
    versions: z
      .array(z.object({ arm: z.string(), version: z.string(), requests: count, firstAt: time, lastAt: time }))
      .meta({ description: 'Every version that answered for an arm, as `model@version`.' }),
    arms: z.array(
      z.object({
        arm: z.string(),
        model: z.string(),
        control: z.boolean(),
        units: count,
        requests: count,
        failed: count,
        fallbacks: count.meta({ description: 'Requests that control answered in place of the arm.' }),
        p50Ms: z.number().optional(),
        p95Ms: z.number().optional(),
        tripped: z.string().optional(),
      }),
    ),
    crossed: count.meta({ description: 'Units with more than one arm; excluded.' }),
    reshuffled: z
      .object({ share: z.number(), configHash: z.string() })
      .optional()
      .meta({ description: 'Too many units changed arm with the weights: figures of the period decide nothing.' }),
    sampleRatio: z
      .object({
        statistic: z.number(),
        df: count,
        test: z.enum(['chi_square', 'exact']).meta({
          description: 'What `p` is computed by: `exact` (multinomial) where an arm expects fewer than 5 units.',
        }),
        p: z.number().optional().meta({ description: 'Of one look at the end.' }),
        alwaysValidP: z.number().meta({ description: 'Of looks at any time; below 0.01 units are missing.' }),
        ok: z.boolean(),
        arms: z.array(z.object({ arm: z.string(), units: count, expected: z.number() })),
      })
      .optional(),
    metrics: z.array(metricSection),
    credit: z.array(creditSection),
    shadow: z.record(z.string(), z.record(z.string(), z.object({ mean: z.number(), requests: count }))),
    warnings: z.array(z.string()),
    verdict: z.object({
      state: z.enum(['empty', 'sample_ratio', 'win', 'loss', 'open', 'observed']),
      winner: z.string().optional(),
      text: z.string(),
    }),
  })
  .meta({ id: 'ExperimentReport' });

export const experimentSeries = z
  .object({
    experiment: z.string(),
    points: z.array(
      z.object({
        at: time,
        units: count,
        comparisons: z.array(z.object({ ...comparison, metric: z.string() })),
      }),
    ),
    asOf: time.optional().meta({ description: 'When it was read, if that was before this request.' }),
  })
  .meta({ id: 'ExperimentSeries' });

const until = z
  .union([z.iso.datetime({ offset: true }), z.string().regex(/^\d{1,15}$/)], {
    error: 'milliseconds since 1970 or an ISO 8601 time',
  })
  .optional()
  .meta({ description: 'State at an earlier time: milliseconds since 1970 or ISO 8601.' });

const since = z
  .union([z.iso.datetime({ offset: true }), z.string().regex(/^\d{1,15}$/), z.string().regex(DEFINITION_HASH)], {
    error: 'milliseconds since 1970, an ISO 8601 time, or the hash of a definition',
  })
  .optional()
  .meta({
    description:
      'When figures begin: milliseconds since 1970, ISO 8601, or the hash of a definition for its first exposure. If absent, when an arm was last another model or version.',
  });

export const reportQuery = z.object({ until, since });

const MAX_POINTS = 200;

export const seriesQuery = z.object({
  until,
  since,
  points: z
    .string()
    .regex(/^\d{1,3}$/)
    .transform(Number)
    .pipe(z.number().min(1).max(MAX_POINTS))
    .optional()
    .meta({ description: `Points in time, 1 to ${MAX_POINTS}; 30 if absent.` }),
});
