import { z } from 'zod';
import { aroundField } from '../json/text.ts';
import { formatScore } from '../scores.ts';
import { defineDialect } from './dialect.ts';
import { stringErrors } from './errors.ts';
import { commonFields, commonOptions, countFields, query, textAt, textList, textsOf, topNOption } from './fields.ts';
import { flag } from './scalars.ts';
import { listNames } from './sent-names.ts';
import { overruledWithTruncation, truncationFields, truncationOptions } from './tei-truncation.ts';

const schema = z
  .object({
    query,
    texts: textList('Passages.'),
    ...truncationFields,
    return_text: flag('Put the text of each passage into its result.'),
    ...countFields,
    ...commonFields,
  })
  .meta({ id: 'TeiRequest' });

const answerSchema = z
  .array(
    z.object({
      index: z.number().int().min(0),
      score: z.number(),
      text: z.string().optional(),
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
      ...topNOption(body),
      ...truncationOptions(body),
      query: textAt(body.query, 'query'),
      passages: textsOf(body.texts, 'texts', limits),
      names: listNames('texts'),
    },
  ],
  idleFields: (body) => overruledWithTruncation(body),
  toAnswer(body, answers, { requests }) {
    const { ranking } = answers[0]!;
    const { passages } = requests[0]!;
    return {
      head: '[',
      count: ranking.length,
      item(i) {
        const { index, score, relevanceScore } = ranking[i]!;
        const value = formatScore(body.raw_scores ? score : relevanceScore, index);
        const text = body.return_text ? passages[index] : undefined;
        return aroundField(`{"index":${index},"score":${value}`, 'text', text, '}');
      },
      tail: ']',
    };
  },
});
