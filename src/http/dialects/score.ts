import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import { moreFields } from '../json/text.ts';
import { formatScore } from '../scores.ts';
import { defineDialect, type Limits } from './dialect.ts';
import { wantsRaw } from './documents.ts';
import { objectErrors } from './errors.ts';
import { checkCount, commonFields, commonOptions, overruledFields, textAt } from './fields.ts';
import { keptField, keptOf } from './kept.ts';
import { groupByQuery, inSentOrder, type PairGroup } from './pairs.ts';
import { flag } from './scalars.ts';
import type { SentNames } from './sent-names.ts';
import { metaOf, warningsMeta } from './warnings.ts';

const { cascade: _cascade, ...fields } = commonFields;

const side = (description: string) =>
  z
    .union([z.string(), z.array(z.unknown())], { error: 'a string or an array of strings' })
    .nullish()
    .meta({ description, anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }, { type: 'null' }] });

const schema = z
  .object({
    text_1: side('The query, or one query for each text of `text_2`.'),
    text_2: side('The passages.'),
    queries: side('Another name for `text_1`.'),
    documents: side('Another name for `text_2`.'),
    data_1: side('Another name for `text_1`.'),
    data_2: side('Another name for `text_2`.'),
    use_activation: flag('false asks for raw scores.'),
    ...fields,
  })
  .meta({ id: 'ScoreRequest' });

type Body = z.infer<typeof schema>;

const count = z.number().int().min(0);

const answerSchema = z
  .object({
    id: z.string(),
    object: z.literal('list'),
    created: count,
    model: z.string(),
    data: z
      .array(z.object({ index: count, object: z.literal('score'), score: z.number() }))
      .meta({ description: 'In the order sent.' }),
    usage: z.object({ prompt_tokens: count, total_tokens: count, ...keptField }),
    meta: warningsMeta,
  })
  .meta({ id: 'ScoreAnswer' });

/** Names of the two sides of pairs, in the order in which they are looked for. */
const FIRST = ['text_1', 'queries', 'data_1'] as const;
const SECOND = ['text_2', 'documents', 'data_2'] as const;

type SideName = (typeof FIRST | typeof SECOND)[number];

/** Returns the names of a side that the body has in addition to the one that is read. */
const otherNames = (body: Body, names: readonly SideName[]): readonly string[] =>
  names.filter((name) => body[name] !== undefined && body[name] !== null).slice(1);

/** The texts of one side of the pairs, under the first of its names that the body has. */
function sideOf(body: Body, names: readonly SideName[]) {
  const field = names.find((name) => body[name] !== undefined && body[name] !== null);
  if (!field)
    throw new WinnowError('invalid_field', {
      expected: 'a string or an array of strings',
      got: describe(undefined),
      field: names[0]!,
    });
  return { field, value: body[field]! };
}

function pairsOf(body: Body, limits: Limits): readonly PairGroup[] {
  const [first, second] = [sideOf(body, FIRST), sideOf(body, SECOND)];
  const read = ({ field, value }: typeof first) => {
    if (typeof value === 'string') return [textAt(value, field)];
    checkCount(value.length, field, limits);
    return value.map((text, i) => textAt(text, `${field}[${i}]`));
  };
  const [queries, passages] = [read(first), read(second)];
  if (queries.length !== 1 && queries.length !== passages.length)
    throw new WinnowError('invalid_field', {
      expected: `1 or ${passages.length} queries, as many as there are passages`,
      got: queries.length,
      field: first.field,
    });
  return groupByQuery(queries, passages);
}

/** What the body calls the texts of a group; a side with a single text has no index. */
function namesOf(body: Body, { queryAt, places }: PairGroup): SentNames {
  const nameAt = ({ field, value }: ReturnType<typeof sideOf>, at: number) =>
    typeof value === 'string' ? field : `${field}[${at}]`;
  const [first, second] = [sideOf(body, FIRST), sideOf(body, SECOND)];
  const place = (i: number) => places[i] ?? i;
  return { query: nameAt(first, queryAt), passage: (i) => nameAt(second, place(i)), place };
}

/** vLLM's `POST /score`: takes pairs and answers with one score for each, in the order sent. */
export const score = defineDialect({
  name: 'score',
  docs: {
    title: 'vLLM',
    summary: 'Score pairs of texts in the order sent',
    answer: '`{id, object, created, model, data: [{index, object, score}], usage}`, in the order sent',
  },
  paths: [{ path: '/score' }, { path: '/v1/score' }],
  errors: objectErrors,
  schema,
  answer: answerSchema,
  toRequests: (body, limits) =>
    pairsOf(body, limits).map((group) => ({
      ...commonOptions(body),
      query: group.query,
      passages: group.passages,
      names: namesOf(body, group),
    })),
  idleFields: (body) => [...overruledFields(body), ...otherNames(body, FIRST), ...otherNames(body, SECOND)],
  toAnswer(body, answers, context) {
    const scored = inSentOrder(context.requests, answers);
    const tokens = answers.reduce((sum, answer) => sum + answer.tokens, 0);
    const { model, version } = answers[0]!;
    const raw = wantsRaw(body);
    const usage = { prompt_tokens: tokens, total_tokens: tokens, ...keptOf(answers) };
    const head = { id: context.requestId, object: 'list', created: context.created, model: `${model}@${version}` };
    return {
      head: `${JSON.stringify(head).slice(0, -1)},"data":[`,
      count: scored.length,
      item(i) {
        const { place, ranked } = scored[i]!;
        const value = formatScore(raw ? ranked.score : ranked.relevanceScore, place);
        return `{"index":${place},"object":"score","score":${value}}`;
      },
      tail: `]${moreFields({ usage, meta: metaOf(context, answers) })}}`,
    };
  },
});
