import { z } from 'zod';
import { WinnowError } from '../errors.ts';
import { parseJson } from '../util/parse-json.ts';
import { issueExpectation, issueField, issueFinding } from '../util/schema-issues.ts';
import { type FieldMeta, reference } from './setting-fields.ts';

const KIND =
  'names, each with its stages, such as {"accurate": [{"model": "small", "keep": 50}, {"model": "large", "blend": 0.5}]}';

const LENGTH = 'expected 2 to 8 stages';
const KEEP = 'expected a whole number of at least 1';
const BLEND = 'expected a number of at least 0 and below 1';

const stage = z.strictObject({
  model: reference,
  /** How many passages go on; every stage but the last needs it. */
  keep: z.int(KEEP).min(1, KEEP).max(1_000_000, 'expected at most 1000000').optional(),
  /** How much of the ranking is the scores of the stage before. */
  blend: z.number(BLEND).min(0, BLEND).lt(1, BLEND).optional(),
});

/** The stages of a cascade that has a name. A request of any format may send it, also one that is answered in the order sent: all passages stay. */
const stages = z
  .array(stage, LENGTH)
  .min(2, LENGTH)
  .max(8, LENGTH)
  .superRefine((list, context) => {
    list.slice(0, -1).forEach(({ keep }, i) => {
      if (keep === undefined)
        context.addIssue({
          code: 'custom',
          path: [i, 'keep'],
          message: 'expected how many passages go on',
        });
    });
    const last = list.length - 1;
    if (list[last]?.keep !== undefined)
      context.addIssue({
        code: 'custom',
        path: [last, 'keep'],
        message: 'expected none in the last stage, since requests say how many results they want',
      });
    if (list[0]?.blend !== undefined)
      context.addIssue({
        code: 'custom',
        path: [0, 'blend'],
        message: 'expected none in the first stage, which has no scores before it',
      });
  });

/** Reads the JSON of a flag or variable. What is no JSON stays text, so that the error can show it. */
export function fromText(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return parseJson(value);
  } catch {
    return value;
  }
}

const named = z.record(z.string().min(1).max(512), stages, `expected ${KIND}`);

/** Parses cascades by name from a file. @throws WinnowError `invalid_manifest` with the file and the field. */
export function parseCascades(document: unknown, file: string): z.output<typeof named> {
  const result = named.safeParse(document);
  if (result.success && !Object.hasOwn(result.data, '*')) return result.data;
  const [issue] = result.error?.issues ?? [];
  throw new WinnowError('invalid_manifest', {
    file,
    expected: issue ? issueExpectation(issue) : 'names, without *, which only registry.aliases has',
    got: issue ? issueFinding(issue, document) : '*',
    field: issue ? issueField(issue, 'type') : '*',
  });
}

/** Makes a map from names, as clients write them, to the stages of cascades. */
export function cascades(description: string) {
  return z
    .preprocess(fromText, named)
    .default({})
    .meta({ description, kind: KIND } satisfies FieldMeta);
}
