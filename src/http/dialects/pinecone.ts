import { defineDocumentsDialect } from './documents.ts';

/** Pinecone's `POST /rerank`: its SDK requires `usage.rerank_units`, and names itself in a header. */
export const pinecone = defineDocumentsDialect({
  name: 'pinecone',
  title: 'Pinecone',
  paths: [],
  marks: {
    paths: ['/rerank', '/v1/rerank', '/', '/invocations'],
    text: '`documents` sent with `X-Pinecone-API-Version`',
    matches: (body, { sdk }) => 'documents' in body && /pinecone/i.test(sdk),
  },
  id: 'Pinecone',
  form: {
    id: 'PineconeAnswer',
    data: { scores: ['score'], field: 'document', document: 'object' },
    hasRerankUnits: true,
  },
});
