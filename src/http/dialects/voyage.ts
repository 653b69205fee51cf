import { z } from 'zod';
import { moreFields } from '../json/text.ts';
import { defineDialect } from './dialect.ts';
import { cutPassages, resultItem, resultText, truncatedField, wantsRaw } from './documents.ts';
import { stringErrors } from './errors.ts';
import {
  commonFields,
  commonOptions,
  countFields,
  query,
  returnDocuments,
  textAt,
  textList,
  textsOf,
  topNOption,
} from './fields.ts';
import { isFlag } from './scalars.ts';
import { metaOf, warningsMeta } from './warnings.ts';

const schema = z
  .object({
    query,
    documents: textList('Passages.'),
    ...countFields,
    return_documents: returnDocuments,
    ...commonFields,
  })
  .meta({ id: 'VoyageRequest' });

const count = z.number().int().min(0);

const answerSchema = z
  .object({
    object: z.literal('list'),
    model: z.string(),
    data: z.array(resultItem.extend({ document: z.string().optional() })).meta({ description: 'Best first.' }),
    usage: z.object({ total_tokens: count }),
    truncated: truncatedField,
    meta: warningsMeta,
  })
  .meta({ id: 'VoyageAnswer' });

/** Voyage's `POST /v1/rerank`: results under `data`, documents as plain strings. */
export const voyage = defineDialect({
  name: 'voyage',
  docs: {
    title: 'Voyage',
    summary: 'Rank passages',
    answer: '`{object, model, data: [{index, relevance_score, document?}], usage}`, best first',
  },
  paths: [],
  marks: {
    paths: ['/rerank', '/v1/rerank', '/', '/invocations'],
    text: '`documents` and `top_k`, or `documents` and a boolean `truncation`, or `documents` sent by a Voyage SDK',
    matches: (body, { sdk }) =>
      'documents' in body && ('top_k' in body || isFlag(body.truncation) || /voyage/i.test(sdk)),
  },
  listField: 'documents',
  errors: stringErrors,
  schema,
  answer: answerSchema,
  toRequests: (body, limits) => [
    {
      ...commonOptions(body),
      ...topNOption(body),
      query: textAt(body.query, 'query'),
      passages: textsOf(body.documents, 'documents', limits),
    },
  ],
  toAnswer(body, answers, context) {
    const answer = answers[0]!;
    const { passages } = context.requests[0]!;
    const raw = wantsRaw(body);
    return {
      head: `{"object":"list","model":${JSON.stringify(`${answer.model}@${answer.version}`)},"data":[`,
      count: answer.ranking.length,
      item(i) {
        const ranked = answer.ranking[i]!;
        return resultText(ranked, raw, body.return_documents ? passages[ranked.index] : undefined);
      },
      tail: `]${moreFields({ usage: { total_tokens: answer.tokens }, truncated: cutPassages(answer), meta: metaOf(context) })}}`,
    };
  },
});
