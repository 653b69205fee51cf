import { defineDocumentsDialect } from './documents.ts';
import { isFlag } from './scalars.ts';

/** Voyage's `POST /v1/rerank`: results are read from `data`, whose documents are texts. */
export const voyage = defineDocumentsDialect({
  name: 'voyage',
  title: 'Voyage',
  paths: [],
  marks: {
    paths: ['/rerank', '/v1/rerank', '/', '/invocations'],
    text: '`documents` and `top_k`, or `documents` and a boolean `truncation`, or `documents` sent by a Voyage SDK',
    matches: (body, { sdk }) =>
      'documents' in body && ('top_k' in body || isFlag(body.truncation) || /voyage/i.test(sdk)),
  },
  id: 'Voyage',
  form: { id: 'VoyageAnswer', data: { scores: ['relevance_score'], field: 'document', document: 'text' } },
});
