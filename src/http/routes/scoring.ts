import type { Request, RequestHandler, Response } from 'express';
import { combineTimings } from '../../rerank/timings.ts';
import type { RerankAnswer, Reranker, RerankRequest } from '../../rerank/types.ts';
import type { AnyDialect, Asked } from '../dialects/dialect.ts';
import { dialectAt, dialectOf, SCORING_PATHS, type ScoringPath } from '../dialects/dispatch.ts';
import { type Exchange, exchangeOf, header } from '../exchange.ts';
import { writeJson } from '../json-text.ts';
import type { HttpDeps } from '../ports.ts';
import { deadlineOf, laneOf, subjectOf } from '../request-headers.ts';
import type { Route } from './route.ts';

const timingsOfQueries = (answers: readonly RerankAnswer[]) =>
  combineTimings(
    'queries',
    answers.map((answer) => answer.timings),
  );

const charactersIn = ({ query, passages }: Asked) => passages.reduce((n, passage) => n + passage.length, query.length);

/** Names of Text Embeddings Inference, milliseconds and counts as whole numbers; then what Winnow adds. */
function answerHeaders(
  asked: readonly Asked[],
  answers: readonly RerankAnswer[],
  exchange: Exchange,
  provider: string,
) {
  const timings = timingsOfQueries(answers);
  const { model, version, experiment } = answers[0]!;
  const whole = (ms: number) => String(Math.round(ms));
  const cut = answers.reduce((n, answer) => n + answer.truncated.filter(Boolean).length, 0);
  return {
    'x-compute-type': provider,
    'x-compute-time': whole(performance.now() - exchange.started),
    'x-compute-characters': String(asked.reduce((n, one) => n + charactersIn(one), 0)),
    'x-compute-tokens': String(answers.reduce((n, answer) => n + answer.tokens, 0)),
    'x-total-time': whole(performance.now() - exchange.started),
    'x-tokenization-time': whole(timings.tokenizeMs),
    'x-queue-time': whole(timings.queueMs),
    'x-inference-time': whole(timings.inferMs),
    'x-winnow-model': `${model}@${version}`,
    'x-winnow-truncated': String(cut),
    ...(experiment ? { 'x-winnow-experiment': experiment.name, 'x-winnow-arm': experiment.arm } : {}),
  };
}

function noteFacts(exchange: Exchange, asked: readonly Asked[], answers: readonly RerankAnswer[]): void {
  const { model, version, experiment } = answers[0]!;
  exchange.facts = {
    ...exchange.facts,
    model,
    version,
    ...(experiment ? { experiment } : {}),
    passages: asked.reduce((n, { passages }) => n + passages.length, 0),
    tokens: answers.reduce((n, answer) => n + answer.tokens, 0),
    truncated: answers.reduce((n, answer) => n + answer.truncated.filter(Boolean).length, 0),
    timings: timingsOfQueries(answers),
  };
}

/** Stages of the request as spans, laid out from its arrival in the order they happen. */
function traceStages({ span, startedAt, facts }: Exchange): void {
  if (!facts?.timings) return;
  const { tokenizeMs, queueMs, inferMs } = facts.timings;
  let at = startedAt;
  for (const [name, ms] of [
    ['tokenize', tokenizeMs] as const,
    ['queue', queueMs] as const,
    ['infer', inferMs] as const,
  ]) {
    span.stage(name, at, at + ms);
    at += ms;
  }
}

type Completed = Omit<RerankRequest, 'query' | 'passages'>;

/** What all requests of one exchange share, from headers and options. */
function framed(req: Request, res: Response, deps: HttpDeps, asked: Asked): Completed {
  const exchange = exchangeOf(res);
  const { timeoutMs, user, truncate, ...rest } = asked;
  return {
    ...rest,
    requestId: exchange.requestId,
    truncate: truncate ?? deps.options.autoTruncate ?? true,
    lane: laneOf(req),
    deadlineMs: deadlineOf(req) ?? timeoutMs ?? deps.options.requestTimeoutMs,
    signal: exchange.signal,
    subject: subjectOf(req, exchange.caller, user),
  };
}

/** The model a KServe path names. */
function pathModel(req: Request): { readonly model?: string } {
  const { model, version } = req.params as { model?: string; version?: string };
  if (!model) return {};
  return { model: version ? `${model}@${version}` : model };
}

function readDialect(path: ScoringPath, req: Request, exchange: Exchange): AnyDialect {
  const sdk = [header(req, 'x-fern-sdk-name'), header(req, 'x-voyage-user-agent'), header(req, 'user-agent')];
  const dialect = dialectOf(path, req.body, { sdk: sdk.filter(Boolean).join(' ') });
  exchange.dialect = dialect.name;
  exchange.toError = dialect.toError;
  return dialect;
}

/** Asks side by side; the first failure withdraws the rest. */
async function rerankAll(
  reranker: Reranker,
  requests: readonly RerankRequest[],
  gone: AbortSignal,
): Promise<readonly RerankAnswer[]> {
  if (requests.length === 1) return [await reranker.rerank(requests[0]!)];
  const failed = new AbortController();
  const signal = AbortSignal.any([gone, failed.signal]);
  try {
    return await Promise.all(requests.map((request) => reranker.rerank({ ...request, signal })));
  } catch (error) {
    failed.abort();
    throw error;
  }
}

function scoringHandler(path: ScoringPath, deps: HttpDeps): RequestHandler {
  return async function score(req, res) {
    const exchange = exchangeOf(res);
    const dialect = readDialect(path, req, exchange);
    const conversation = dialect.read(req.body, { maxPassages: deps.options.maxPassages });
    const { asked } = conversation;
    exchange.facts = { lane: laneOf(req), passages: asked.reduce((n, { passages }) => n + passages.length, 0) };
    const answers = await rerankAll(
      deps.reranker,
      asked.map((one) => ({ ...one, ...framed(req, res, deps, one), ...pathModel(req) })),
      exchange.signal,
    );
    noteFacts(exchange, asked, answers);
    traceStages(exchange);
    const about = { requestId: exchange.requestId, created: Math.floor(exchange.startedAt / 1000) };
    const text = await writeJson(conversation.answer(answers, about));
    if (exchange.signal.aborted) return;
    res.set(answerHeaders(asked, answers, exchange, deps.info().provider));
    // The connection was kept when the request came, but a shutdown may have begun since.
    if (deps.readiness.draining()) res.set('connection', 'close');
    res.type('application/json').send(text);
  };
}

/** Errors before the body is read are told in the dialect of the path. */
function speakAt(path: ScoringPath, deps: HttpDeps): RequestHandler {
  const { name, toError } = dialectAt(path);
  return function prepareDialect(_req, res, next) {
    const exchange = exchangeOf(res);
    exchange.dialect = name;
    exchange.toError = toError;
    deps.telemetry.onScoringStart?.();
    next();
  };
}

/** Every path that scores. */
export function scoringRoutes(deps: HttpDeps): readonly Route[] {
  return (Object.keys(SCORING_PATHS) as ScoringPath[]).map((path) => ({
    method: 'post',
    path,
    access: 'rerank',
    body: 'json',
    prepare: speakAt(path, deps),
    handler: scoringHandler(path, deps),
  }));
}
