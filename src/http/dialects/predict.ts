import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import { isObject } from '../../util/json-files.ts';
import { formatScore } from '../scores.ts';
import { defineDialect, type Limits } from './dialect.ts';
import { stringErrors } from './errors.ts';
import { checkCount, commonFields, commonOptions, textAt } from './fields.ts';
import { groupByQuery, inSentOrder, type PairGroup, type Scored } from './pairs.ts';
import type { SentNames } from './sent-names.ts';
import { overruledWithTruncation, truncationFields, truncationOptions } from './tei-truncation.ts';

const { cascade: _cascade, ...fields } = commonFields;

const PAIR_OBJECT = {
  type: 'object',
  properties: { text: { type: 'string' }, text_pair: { type: 'string' } },
  required: ['text', 'text_pair'],
} as const;
const PAIR_LIST = { type: 'array', items: { type: 'string' }, minItems: 2, maxItems: 2 } as const;

const isInputs = (value: unknown) => Array.isArray(value) || isObject(value);

const schema = z
  .object({
    inputs: z.custom<unknown>(isInputs, { error: 'a pair of texts, or an array of pairs' }).meta({
      description: 'One pair, or many: `[query, passage]` or `{ "text": query, "text_pair": passage }`.',
      type: ['array', 'object'],
      anyOf: [PAIR_LIST, PAIR_OBJECT, { type: 'array', items: { anyOf: [PAIR_LIST, PAIR_OBJECT] }, minItems: 1 }],
    }),
    ...truncationFields,
    ...fields,
  })
  .meta({ id: 'PredictRequest' });

type Body = z.infer<typeof schema>;

const prediction = z.object({ label: z.literal('LABEL_0'), score: z.number() });

const answerSchema = z.union([z.array(z.array(prediction)), z.array(prediction)]).meta({
  id: 'PredictAnswer',
  description: 'In the order sent: a list for each pair, empty below `min_score`; one list for a pair alone.',
});

type Pair = readonly [query: string, passage: string];

const EXPECTED = 'a pair of texts, `[query, passage]` or `{ "text", "text_pair" }`';

function pairAt(value: unknown, field: string): Pair {
  if (Array.isArray(value) && value.length === 2)
    return [textAt(value[0], `${field}[0]`), textAt(value[1], `${field}[1]`)];
  if (isObject(value) && 'text' in value && 'text_pair' in value)
    return [textAt(value.text, `${field}.text`), textAt(value.text_pair, `${field}.text_pair`)];
  throw new WinnowError('invalid_field', {
    expected: EXPECTED,
    got: Array.isArray(value) ? `${value.length} of them` : describe(value),
    field,
  });
}

/** Whether the body holds one pair rather than a list of pairs. */
const isAlone = ({ inputs }: Pick<Body, 'inputs'>): boolean =>
  !Array.isArray(inputs) || (inputs.length > 0 && inputs.every((one) => typeof one === 'string'));

function groupsOf(body: Body, limits: Limits): readonly PairGroup[] {
  const { inputs } = body;
  if (!isAlone(body)) checkCount((inputs as unknown[]).length, 'inputs', limits);
  const pairs = isAlone(body)
    ? [pairAt(inputs, 'inputs')]
    : (inputs as readonly unknown[]).map((one, i) => pairAt(one, `inputs[${i}]`));
  const queries = pairs.map(([query]) => query);
  return groupByQuery(
    queries,
    pairs.map(([, passage]) => passage),
  );
}

/** What the body calls the texts of a group. */
function namesOf(body: Body, { queryAt, places }: PairGroup): SentNames {
  const nameAt = (at: number, part: 0 | 1) => {
    const pair = isAlone(body) ? body.inputs : (body.inputs as readonly unknown[])[at];
    const step = Array.isArray(pair) ? `[${part}]` : ['.text', '.text_pair'][part];
    return `inputs${isAlone(body) ? '' : `[${at}]`}${step}`;
  };
  const place = (i: number) => places[i] ?? i;
  return { query: nameAt(queryAt, 0), passage: (i) => nameAt(place(i), 1), place };
}

/** `POST /predict` of Text Embeddings Inference, and bodies of Hugging Face's text classification: pairs, scored in the order sent. */
export const predict = defineDialect({
  name: 'predict',
  docs: {
    title: 'Hugging Face text classification',
    clients: '/predict of Text Embeddings Inference, RAGFlow',
    summary: 'Classify pairs of texts in the order sent',
    answer: '`[[{label, score}]]`, in the order sent; `[{label, score}]` for a pair alone',
  },
  paths: [{ path: '/predict' }],
  marks: {
    paths: ['/', '/invocations', '/rerank'],
    text: '`inputs`',
    matches: (body) => 'inputs' in body,
  },
  listField: 'inputs',
  errors: stringErrors,
  schema,
  answer: answerSchema,
  toRequests: (body, limits) =>
    groupsOf(body, limits).map((group) => ({
      ...commonOptions(body),
      ...truncationOptions(body),
      query: group.query,
      passages: group.passages,
      names: namesOf(body, group),
    })),
  idleFields: (body) => overruledWithTruncation(body),
  toAnswer(body, answers, { requests }) {
    const scored = inSentOrder(requests, answers);
    const write = ({ place, ranked }: Scored) =>
      `{"label":"LABEL_0","score":${formatScore(body.raw_scores ? ranked.score : ranked.relevanceScore, place)}}`;
    if (isAlone(body)) return { head: '[', count: scored.length, item: (i) => write(scored[i]!), tail: ']' };
    const byPlace = new Map(scored.map((one) => [one.place, one]));
    return {
      head: '[',
      count: requests.reduce((sum, { passages }) => sum + passages.length, 0),
      // A pair below `min_score` keeps its place, so that the others keep theirs.
      item(i) {
        const one = byPlace.get(i);
        return one ? `[${write(one)}]` : '[]';
      },
      tail: ']',
    };
  },
});
