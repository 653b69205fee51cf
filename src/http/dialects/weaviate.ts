import { z } from 'zod';
import { moreFields } from '../json/text.ts';
import { formatScore } from '../scores.ts';
import { defineDialect } from './dialect.ts';
import { stringErrors } from './errors.ts';
import { commonFields, commonOptions, overruledFields, query, textAt, textList, textsOf } from './fields.ts';
import { byIndex } from './ranking.ts';
import { listNames } from './sent-names.ts';
import { metaOf, warningsMeta } from './warnings.ts';

const { cascade: _cascade, ...fields } = commonFields;

const schema = z
  .object({
    query,
    documents: textList('Passages.'),
    property: z.string().meta({ description: 'Name of the property that holds the passages; marks the dialect.' }),
    ...fields,
  })
  .meta({ id: 'WeaviateRequest' });

const answerSchema = z
  .object({
    query: z.string(),
    scores: z.array(z.object({ document: z.string(), score: z.number() })).meta({ description: 'In the order sent.' }),
    property: z.string(),
    meta: warningsMeta,
  })
  .meta({ id: 'WeaviateAnswer' });

/** The format of Weaviate's `reranker-transformers` module, which pairs scores and documents by position: nothing is sorted. */
export const weaviate = defineDialect({
  name: 'weaviate',
  docs: {
    title: 'Weaviate',
    summary: 'Rank passages',
    answer: '`{query, scores: [{document, score}], property}`, in the order sent',
  },
  paths: [],
  marks: {
    paths: ['/rerank', '/v1/rerank', '/v2/rerank', '/', '/invocations'],
    text: '`documents` and `property`',
    matches: (body) => 'documents' in body && 'property' in body,
  },
  listField: 'documents',
  errors: stringErrors,
  schema,
  answer: answerSchema,
  toRequests: (body, limits) => [
    {
      ...commonOptions(body),
      query: textAt(body.query, 'query'),
      passages: textsOf(body.documents, 'documents', limits),
      names: listNames('documents'),
    },
  ],
  idleFields: (body) => overruledFields(body),
  toAnswer(body, answers, context) {
    const { query: asked, passages } = context.requests[0]!;
    const ranked = byIndex(answers[0]!, passages.length);
    return {
      head: `{"query":${JSON.stringify(asked)},"scores":[`,
      count: ranked.length,
      item(i) {
        const { index, score, relevanceScore } = ranked[i]!;
        const value = formatScore(body.raw_scores ? score : relevanceScore, index);
        return `{"document":${JSON.stringify(passages[index])},"score":${value}}`;
      },
      tail: `]${moreFields({ property: body.property, meta: metaOf(context, answers) })}}`,
    };
  },
});
