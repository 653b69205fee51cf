import type { z } from 'zod';
import type { ErrorCode } from '../../errors.ts';
import type { AnyDialect } from '../dialects/dialect.ts';
import { alternatives, SCORING_PATHS, type ScoringPath } from '../dialects/dispatch.ts';
import * as experiments from '../routes/experiment-schemas.ts';
import * as passages from '../routes/passage-schemas.ts';
import * as schemas from '../routes/schemas.ts';
import { tokenizeAnswer, tokenizeRequest } from '../routes/tokenize.ts';
import {
  BODY_ERRORS,
  KEY_ERRORS,
  MODEL_ERRORS,
  READ_ERRORS,
  REGISTRY_ERRORS,
  SCORING_ERRORS,
} from './operation-errors.ts';

/** One route in openapi.yaml. */
export interface Operation {
  readonly tag: 'Scoring' | 'Passages' | 'Models' | 'Repository' | 'Experiments' | 'Service' | 'Health' | 'Description';
  readonly summary: string;
  readonly description?: string;
  readonly access: 'public' | 'rerank' | 'outcomes' | 'admin';
  /** Dialects of a scoring route; request, answer and errors follow from them. */
  readonly dialects?: readonly AnyDialect[];
  readonly body?: { readonly schema: z.ZodType; readonly required: boolean };
  readonly query?: z.ZodObject;
  /** Answers by status; `null`: without a body. */
  readonly answers?: Readonly<Record<number, z.ZodType | { readonly contentType: string } | null>>;
  readonly errors: readonly ErrorCode[];
}

function scoringOperation({ dialect, marked, note }: ScoringPath): Operation {
  const dialects = [...marked, dialect];
  const formats = alternatives(dialects.map(({ docs }) => docs.title));
  const choice = marked.length > 0 ? ', by the shape of the body' : '';
  return {
    tag: 'Scoring',
    summary: `${dialect.docs.summary}: ${formats}${choice}${note ? ` (${note})` : ''}`,
    access: 'rerank',
    dialects,
    errors: SCORING_ERRORS,
  };
}

const HEALTH = { tag: 'Health', access: 'public', errors: ['internal'] } as const;

const probe = (summary: string): Operation => ({
  ...HEALTH,
  summary,
  answers: { 200: schemas.health, 503: schemas.health },
});

const liveProbe = (summary: string, answer: z.ZodType | null): Operation => ({
  ...probe(summary),
  answers: answer ? { 200: answer, 503: answer } : { 204: null, 503: schemas.live },
});

const read = (tag: Operation['tag'], summary: string, answer: z.ZodType): Operation => ({
  tag,
  summary,
  access: 'rerank',
  answers: { 200: answer },
  errors: READ_ERRORS,
});

const change = (
  tag: Operation['tag'],
  summary: string,
  body: z.ZodType,
  required: boolean,
  answer: z.ZodType,
): Operation => ({
  tag,
  summary,
  access: 'admin',
  body: { schema: body, required },
  answers: { 200: answer },
  errors: REGISTRY_ERRORS,
});

const page = (summary: string, contentType: string): Operation => ({
  tag: 'Description',
  summary,
  access: 'public',
  answers: { 200: { contentType } },
  errors: ['internal'],
});

const modelReady = (summary: string): Operation => ({
  ...read('Models', summary, schemas.kserveReady),
  answers: { 200: schemas.kserveReady, 503: schemas.kserveReady },
});

/** An operation on experiments, for admins. */
const experiment = (summary: string, answers: Operation['answers'], more: Partial<Operation> = {}): Operation => ({
  tag: 'Experiments',
  summary,
  access: 'admin',
  ...(answers ? { answers } : {}),
  errors: [...KEY_ERRORS, 'unknown_experiment', 'store_unavailable', 'shutting_down'],
  ...more,
});

const EXPERIMENT_READ_ERRORS: readonly ErrorCode[] = [
  ...KEY_ERRORS,
  'invalid_field',
  'unknown_experiment',
  'store_unavailable',
  'shutting_down',
];

/** Every route, by method and Express pattern; test/drift/openapi.test.ts compares it with the app's routes. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  ...Object.fromEntries(SCORING_PATHS.map((at) => [`POST ${at.path}`, scoringOperation(at)])),
  'POST /tokenize': {
    tag: 'Scoring',
    summary: 'Tokens of texts as the model reads them (TEI)',
    access: 'rerank',
    body: { schema: tokenizeRequest, required: true },
    answers: { 200: tokenizeAnswer },
    errors: [
      ...KEY_ERRORS,
      ...BODY_ERRORS,
      'empty_passages',
      'too_many_passages',
      ...MODEL_ERRORS,
      'deadline_exceeded',
      'shutting_down',
      'tokenization_failed',
    ],
  },
  'POST /v1/passages': {
    tag: 'Passages',
    summary: 'Read passages ahead and keep what the model makes of them',
    access: 'rerank',
    body: { schema: passages.passagesRequest, required: true },
    answers: { 200: passages.passagesAnswer },
    errors: [
      ...SCORING_ERRORS.filter((code) => code !== 'unknown_dialect' && code !== 'passage_too_long'),
      'passage_cache_off',
    ],
  },
  'GET /v1/passages': {
    ...read('Passages', 'Entries, bytes and hit rate of kept passages', passages.passagesReport),
    errors: [...KEY_ERRORS, 'passage_cache_off'],
  },
  'DELETE /v1/passages': {
    tag: 'Passages',
    summary: 'Remove kept passages: those of the key, or all with scope admin',
    access: 'rerank',
    query: passages.passagesQuery,
    body: { schema: passages.passagesQuery, required: false },
    answers: { 200: passages.passagesRemoved },
    errors: [...READ_ERRORS, ...BODY_ERRORS, 'passage_cache_off'],
  },
  'GET /v1/models': read('Models', 'Models, their versions, states and reasons', schemas.modelList),
  'GET /v1/models/*model': read('Models', 'One model, or one version of it', schemas.modelVersions),
  'PUT /v1/models/:model/labels/:label': change(
    'Models',
    'Point a label to a version',
    schemas.labelRequest,
    true,
    schemas.labelAnswer,
  ),
  'GET /v2/models/stats': read(
    'Models',
    'Requests, batches and times of all versions (Triton)',
    schemas.tritonStatistics,
  ),
  'GET /v2/models/:model/stats': read(
    'Models',
    'Requests, batches and times of a model (Triton)',
    schemas.tritonStatistics,
  ),
  'GET /v2/models/:model/versions/:version/stats': read(
    'Models',
    'Requests, batches and times of a version (Triton)',
    schemas.tritonStatistics,
  ),
  'GET /v2/models/:model/config': read('Models', 'Configuration of a model (Triton)', schemas.tritonConfig),
  'GET /v2/models/:model/versions/:version/config': read(
    'Models',
    'Configuration of a version (Triton)',
    schemas.tritonConfig,
  ),
  'GET /v2/models/:model': read('Models', 'Metadata of a model (KServe)', schemas.kserveModel),
  'GET /v2/models/:model/ready': modelReady('Whether a model is ready (KServe)'),
  'GET /v2/models/:model/versions/:version': read('Models', 'Metadata of a version (KServe)', schemas.kserveModel),
  'GET /v2/models/:model/versions/:version/ready': modelReady('Whether a version is ready (KServe)'),
  'POST /v2/repository/index': {
    ...change('Repository', 'All versions and their states (Triton)', schemas.indexRequest, false, schemas.indexAnswer),
    access: 'rerank',
  },
  'POST /v2/repository/models/:model/load': change(
    'Repository',
    'Load a model, or read it again from disk (Triton)',
    schemas.loadRequest,
    false,
    schemas.loadAnswer,
  ),
  'POST /v2/repository/models/:model/unload': change(
    'Repository',
    'Drain and unload a model (Triton)',
    schemas.loadRequest,
    false,
    schemas.loadAnswer,
  ),
  'POST /v1/outcomes': {
    ...experiment('Report outcomes of answers, such as clicks and orders', {
      200: experiments.outcomesAnswer,
    }),
    access: 'outcomes',
    body: { schema: experiments.outcomesSchema, required: true },
    errors: [
      ...KEY_ERRORS,
      ...BODY_ERRORS,
      'unknown_request',
      'outcome_conflict',
      'store_unavailable',
      'shutting_down',
    ],
  },
  'GET /v1/experiments': experiment('Experiments and their states', { 200: experiments.experimentList }),
  'GET /v1/experiments/:experiment': experiment('One experiment', { 200: experiments.experimentView }),
  'PUT /v1/experiments/:experiment': experiment(
    'Define or change an experiment',
    { 200: experiments.experimentView, 201: experiments.experimentView },
    {
      body: { schema: experiments.experimentRequest, required: true },
      errors: [
        ...KEY_ERRORS,
        ...BODY_ERRORS,
        'invalid_experiments',
        'experiment_in_file',
        'store_unavailable',
        'shutting_down',
      ],
    },
  ),
  'DELETE /v1/experiments/:experiment': experiment(
    'Remove an experiment; its stored exposures stay',
    { 204: null },
    { errors: [...KEY_ERRORS, 'unknown_experiment', 'experiment_in_file', 'store_unavailable', 'shutting_down'] },
  ),
  'GET /v1/experiments/:experiment/report': experiment(
    'Sample ratio, intervals, verdict',
    { 200: experiments.experimentReport },
    { query: experiments.reportQuery, errors: EXPERIMENT_READ_ERRORS },
  ),
  'GET /v1/experiments/:experiment/series': experiment(
    'Differences to control over time',
    { 200: experiments.experimentSeries },
    { query: experiments.seriesQuery, errors: EXPERIMENT_READ_ERRORS },
  ),
  'GET /v1/experiments/:experiment/audits': experiment('Who changed what, and when', { 200: experiments.auditList }),
  'GET /info': read('Service', 'The default model and the limits of the service (TEI)', schemas.info),
  'GET /meta': read('Service', 'The default model (Weaviate)', schemas.meta),
  'GET /v2': read('Service', 'Name, version and extensions (KServe)', schemas.kserveServer),
  'GET /': probe('Whether the service can answer'),
  'GET /health': probe('Whether the service can answer'),
  'GET /ping': probe('Whether the service can answer (SageMaker)'),
  'GET /health/live': liveProbe('Whether a restart of the process is not due', schemas.live),
  'GET /health/ready': probe('Whether an inference has succeeded and no shutdown has begun'),
  'GET /.well-known/live': liveProbe('Whether a restart of the process is not due (Weaviate)', null),
  'GET /.well-known/ready': probe('Whether the service can answer (Weaviate)'),
  'GET /v2/health/live': liveProbe('Whether a restart of the process is not due (KServe)', schemas.kserveLive),
  'GET /v2/health/ready': {
    ...probe('Whether the service can answer (KServe)'),
    answers: { 200: schemas.kserveServerReady, 503: schemas.kserveServerReady },
  },
  'GET /metrics': {
    ...page('Metrics in Prometheus text format', 'text/plain'),
    tag: 'Health',
  },
  'GET /openapi.yaml': page('This description as YAML', 'application/yaml'),
  'GET /openapi.json': page('This description as JSON', 'application/json'),
  'GET /docs': page('This description as a page', 'text/html'),
};
