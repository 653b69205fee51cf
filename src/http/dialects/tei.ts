import { z } from 'zod';
import { aroundField, field } from '../json/text.ts';
import { formatScore } from '../scores.ts';
import { defineDialect } from './dialect.ts';
import { stringErrors } from './errors.ts';
import {
  commonFields,
  commonOptions,
  query,
  textAt,
  textList,
  textsOf,
  topN,
  topNOption,
  withoutEmpty,
} from './fields.ts';

const schema = z
  .object({
    query,
    texts: textList('Passages.'),
    truncate: z
      .boolean()
      .nullish()
      .meta({ description: 'false: a pair that does not fit is an error; cut if absent.' }),
    truncation_direction: z
      .enum(['right', 'left', 'Right', 'Left'])
      .nullish()
      .meta({ description: 'Which end of a long passage is cut.' }),
    return_text: z.boolean().nullish().meta({ description: 'Put the text of each passage into its result.' }),
    top_n: topN,
    ...commonFields,
  })
  .meta({ id: 'TeiRequest' });

const answerSchema = z
  .array(
    z.object({
      index: z.number().int().min(0),
      score: z.number(),
      text: z.string().optional(),
      team: z.string().optional(),
    }),
  )
  .meta({ id: 'TeiAnswer', description: 'Best first.' });

/** `POST /rerank` of Text Embeddings Inference, with `top_n`, which Elasticsearch sends. */
export const tei = defineDialect({
  name: 'tei',
  docs: {
    title: 'Text Embeddings Inference',
    clients: 'Elasticsearch, Haystack, Continue',
    summary: 'Rank passages',
    answer: '`[{index, score, text?}]`, best first',
  },
  paths: [],
  marks: {
    paths: ['/rerank', '/v1/rerank', '/v2/rerank', '/reranking', '/v1/reranking', '/', '/invocations'],
    text: '`texts`',
    matches: (body) => 'texts' in body,
  },
  listField: 'texts',
  errors: stringErrors,
  schema,
  answer: answerSchema,
  toRequests: (body, limits) => [
    {
      ...commonOptions(body),
      ...topNOption(body.top_n),
      ...withoutEmpty({
        truncate: body.truncate ?? (typeof body.truncation === 'boolean' ? body.truncation : undefined),
        side: body.truncation_direction
          ? (body.truncation_direction.toLowerCase() as 'left' | 'right')
          : body.truncation_side,
      }),
      query: textAt(body.query, 'query'),
      passages: textsOf(body.texts, 'texts', limits),
    },
  ],
  toAnswer(body, answers) {
    const { ranking } = answers[0]!;
    return {
      head: '[',
      count: ranking.length,
      item(i) {
        const { index, score, relevanceScore, team } = ranking[i]!;
        const value = formatScore(body.raw_scores ? score : relevanceScore, index);
        const text = body.return_text ? body.texts[index] : undefined;
        return aroundField(`{"index":${index},"score":${value}`, 'text', text, `${field('team', team)}}`);
      },
      tail: ']',
    };
  },
});
