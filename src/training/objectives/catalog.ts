import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import { issueExpectation, issueFinding } from '../../util/schema-issues.ts';
import { kebabCase, spelled } from '../../util/spelling.ts';
import { adrMse } from './adr-mse.ts';
import { bce } from './bce.ts';
import { distillRankNet } from './distill-rank-net.ts';
import { hinge } from './hinge.ts';
import { infoNce } from './info-nce.ts';
import { klDivergence } from './kl-divergence.ts';
import { lambdaLoss } from './lambda-loss.ts';
import { listMle, pListMle } from './list-mle.ts';
import { listNet } from './list-net.ts';
import { marginMse } from './margin-mse.ts';
import { mse } from './mse.ts';
import type { Objective, ObjectiveKind } from './objective.ts';

/** Every objective; a further one is its file and a line here. */
const KINDS: readonly ObjectiveKind[] = [
  bce,
  hinge,
  marginMse,
  infoNce,
  distillRankNet,
  adrMse,
  lambdaLoss,
  listNet,
  klDivergence,
  mse,
  listMle,
  pListMle,
] as unknown as readonly ObjectiveKind[];

/** Objectives by name. */
export const OBJECTIVES: ReadonlyMap<string, ObjectiveKind> = new Map(KINDS.map((kind) => [kind.name, kind]));

/** The six objectives of arXiv 2603.03010. */
export const PAPER_OBJECTIVES = ['BCE', 'Hinge', 'MarginMSE', 'InfoNCE', 'DistillRankNET', 'ADR-MSE'] as const;

const named = z.looseObject({ name: z.string() });
/** One objective with options, whose keys are spelled as its own schema says. */
const withOptions = spelled(z.looseObject({ name: z.string() }), {
  shapeOf: (value) => OBJECTIVES.get(named.safeParse(value).data?.name ?? '')?.options,
});
const part = z.strictObject({ objective: z.union([z.string(), withOptions]), weight: z.number().positive() });

/** An objective in a recipe: its name, its name with options, or a weighted sum of several. */
export const objectiveSpecSchema = z.union([z.string(), z.strictObject({ sum: z.array(part).min(1) }), withOptions]);
export type ObjectiveSpec = z.infer<typeof objectiveSpecSchema>;

function createOne(spec: string | z.infer<typeof withOptions>): Objective {
  const { name, ...options } = typeof spec === 'string' ? { name: spec } : spec;
  const kind = OBJECTIVES.get(name);
  const where = 'objective';
  if (!kind)
    throw new WinnowError('invalid_input', {
      where,
      expected: `one of ${[...OBJECTIVES.keys()].join(', ')}`,
      got: describe(name),
    });
  const parsed = kind.options.safeParse(options);
  if (parsed.success) return kind.create(parsed.data);
  const [issue] = parsed.error.issues;
  const known = Object.keys(kind.options.parse({}) as object);
  throw new WinnowError('invalid_input', {
    where: [`${where} ${name}`, ...issue!.path.map(String)].join('.'),
    expected:
      issue!.code === 'unrecognized_keys'
        ? `only ${known.length > 0 ? known.join(', ') : 'its name, it has no options'}`
        : issueExpectation(issue!, kebabCase),
    got: issueFinding(issue!, options),
  });
}

/** Returns the objective Σ weight · objective. */
function weightedSum(parts: readonly { readonly objective: Objective; readonly weight: number }[]): Objective {
  const labels = parts.map((p) => p.objective.needs.labels);
  const joint = labels.includes('binary') ? 'binary' : labels.every((each) => each === 'target') ? 'target' : undefined;
  return {
    name: parts.map(({ objective, weight }) => `${weight}·${objective.name}`).join(' + '),
    needs: {
      relevance: parts.some((p) => p.objective.needs.relevance),
      teacher: parts.some((p) => p.objective.needs.teacher),
      ...(joint && { labels: joint }),
      ...(parts.every((p) => p.objective.needs.pointwise) && { pointwise: true }),
      weights: parts.every((p) => p.objective.needs.weights === 'passages') ? 'passages' : 'lists',
    },
    anchored: parts.some((p) => p.objective.anchored),
    build(g, values) {
      const terms = parts.map(({ objective, weight }) => g.mul(objective.build(g, values), g.scalar(weight)));
      return terms.reduce((sum, term) => g.add(sum, term));
    },
  };
}

/** Creates the objective of a recipe. @throws WinnowError `invalid_input` for unknown names and options. */
export function createObjective(spec: ObjectiveSpec): Objective {
  if (typeof spec === 'object' && 'sum' in spec && Array.isArray(spec.sum)) {
    const beside = Object.keys(spec).find((key) => key !== 'sum');
    if (beside !== undefined)
      throw new WinnowError('invalid_input', {
        where: 'objective',
        expected: 'only `sum`',
        got: `\`${beside}\` beside it`,
      });
    const parts = spec.sum as readonly { objective: string | z.infer<typeof withOptions>; weight: number }[];
    return weightedSum(parts.map(({ objective, weight }) => ({ objective: createOne(objective), weight })));
  }
  return createOne(spec as string | z.infer<typeof withOptions>);
}
