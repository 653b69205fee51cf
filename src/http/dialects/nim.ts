import { z } from 'zod';
import { WinnowError } from '../../errors.ts';
import { moreFields } from '../json/text.ts';
import { formatScore } from '../scores.ts';
import { defineDialect } from './dialect.ts';
import { teamsField, teamsOf } from './documents-answer.ts';
import { listErrors } from './errors.ts';
import {
  checkCount,
  commonFields,
  commonOptions,
  countFields,
  overruledFields,
  textAt,
  topNOption,
  withoutEmpty,
} from './fields.ts';
import { keptField, keptOf } from './kept.ts';
import { metaOf, warningsMeta } from './warnings.ts';

const schema = z
  .object({
    query: z.object({ text: z.string() }),
    passages: z.array(z.unknown()).meta({
      description: 'Passages.',
      items: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
      minItems: 1,
    }),
    truncate: z
      .enum(['NONE', 'END'])
      .nullish()
      .meta({ description: '`NONE`: a pair that does not fit is an error; cut if absent.' }),
    ...countFields,
    ...commonFields,
  })
  .meta({ id: 'NimRequest' });

const count = z.number().int().min(0);

const answerSchema = z
  .object({
    rankings: z.array(z.object({ index: count, logit: z.number() })).meta({ description: 'Best first.' }),
    usage: z.object({ prompt_tokens: count, total_tokens: count, ...keptField }),
    meta: warningsMeta,
    teams: teamsField,
  })
  .meta({ id: 'NimAnswer' });

function passageText(passage: unknown, i: number): string {
  const text = typeof passage === 'object' && passage !== null && 'text' in passage ? passage.text : undefined;
  if (text === undefined)
    throw new WinnowError('invalid_field', {
      expected: 'an object with `text`',
      got:
        typeof passage === 'object' && passage !== null
          ? 'one without it'
          : `a ${passage === null ? 'null' : typeof passage}`,
      field: `passages[${i}]`,
    });
  return textAt(text, `passages[${i}].text`);
}

/** `POST /v1/ranking` of NVIDIA NIM, and the paths of its hosted service. Its scores are logits. */
export const nim = defineDialect({
  name: 'nim',
  docs: {
    title: 'NVIDIA NIM',
    summary: 'Rank passages',
    answer: '`{rankings: [{index, logit}], usage}`, best first, logits',
  },
  paths: [
    { path: '/v1/ranking' },
    { path: '/ranking', note: 'a base URL without /v1' },
    { path: '/v1', note: 'Haystack, the base URL alone' },
    { path: '/v1/retrieval/nvidia/reranking', note: 'the hosted service, Weaviate' },
    { path: '/v1/retrieval/nvidia/:hosted/reranking', note: 'the hosted service with the model in the path' },
    { path: '/v1/retrieval/*hosted/reranking', note: 'LiteLLM' },
  ],
  marks: {
    paths: ['/rerank', '/v1/rerank', '/', '/invocations'],
    text: '`passages` (and `query.text`)',
    matches: (body) => 'passages' in body,
  },
  listField: 'passages',
  errors: listErrors,
  schema,
  answer: answerSchema,
  toRequests(body, limits) {
    checkCount(body.passages.length, 'passages', limits);
    return [
      {
        ...commonOptions(body),
        ...topNOption(body),
        ...withoutEmpty({ truncate: body.truncate ? body.truncate === 'END' : undefined }),
        query: textAt(body.query.text, 'query.text'),
        passages: body.passages.map(passageText),
        names: { query: 'query.text', passage: (i) => `passages[${i}].text` },
      },
    ];
  },
  // Its scores are logits whatever is asked for.
  idleFields: (body) => [...overruledFields(body), ...(body.raw_scores === false ? ['raw_scores'] : [])],
  toAnswer(_body, answers, context) {
    const answer = answers[0]!;
    const usage = { prompt_tokens: answer.tokens, total_tokens: answer.tokens, ...keptOf(answers) };
    return {
      head: '{"rankings":[',
      count: answer.ranking.length,
      item(i) {
        const { index, score } = answer.ranking[i]!;
        return `{"index":${index},"logit":${formatScore(score, index)}}`;
      },
      tail: `]${moreFields({ usage, meta: metaOf(context, answers), teams: teamsOf(answer) })}}`,
    };
  },
});
