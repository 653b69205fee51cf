import type { Request, RequestHandler, Response } from 'express';
import { sumOfKept } from '../../rerank/kept-passages.ts';
import type { KeptPassages, RerankAnswer, Reranker, RerankRequest, Timings } from '../../rerank/rerank-types.ts';
import { combineTimings } from '../../rerank/timings.ts';
import type { AnswerText, AnyDialect, QueryRequest } from '../dialects/dialect.ts';
import { dialectOf, SCORING_PATHS, type ScoringPath } from '../dialects/dispatch.ts';
import { type Pruned, prunedOf, unusedPrune } from '../dialects/prune.ts';
import { inSentNames, type SentNames } from '../dialects/sent-names.ts';
import { belowMinScore, warningsOf } from '../dialects/warnings.ts';
import { type Exchange, exchangeOf, header } from '../exchange.ts';
import { writeJson } from '../json/text.ts';
import { spendPassages } from '../middleware/rate-limit.ts';
import type { MinuteBudget } from '../minute-budget.ts';
import type { ModelStatistics } from '../model-statistics.ts';
import type { HttpDeps } from '../ports.ts';
import { deadlineOf, laneOf, priorityOf, subjectOf } from '../request-headers.ts';
import { repairTexts } from '../text-repair.ts';
import { truncates } from '../truncates.ts';
import { modelOf } from './asked-model.ts';
import { idOf, statusOf } from './listed-models.ts';
import type { Route } from './route.ts';
import { sendPieces } from './send-pieces.ts';
import { tokenizeRoute } from './tokenize.ts';
import { traceStages } from './trace-stages.ts';

const sumOf = <T>(list: readonly T[], of: (one: T) => number) => list.reduce((total, one) => total + of(one), 0);

const charactersIn = ({ query, passages }: QueryRequest) => query.length + sumOf(passages, ({ length }) => length);

/** Tokens, what was left out, and timings of all answers of one body. */
interface Totals {
  readonly tokens: number;
  readonly truncated: number;
  /** Tokens of queries that were left out. */
  readonly queryTruncated: number;
  /** What pruning left out; undefined where no list was pruned. */
  readonly pruned?: Pruned | undefined;
  /** What the passage cache did; undefined where no model looks passages up. */
  readonly kept?: KeptPassages | undefined;
  readonly timings: Timings;
}

function totalsOf(answers: readonly RerankAnswer[]): Totals {
  return {
    tokens: sumOf(answers, ({ tokens }) => tokens),
    truncated: sumOf(answers, ({ truncated }) => truncated.filter(Boolean).length),
    queryTruncated: sumOf(answers, ({ queryCut }) => queryCut),
    pruned: prunedOf(answers),
    kept: sumOfKept(answers),
    timings: combineTimings(
      'queries',
      answers.map(({ timings }) => timings),
    ),
  };
}

/** Results whose arms a header names. */
const TEAMS_SHOWN = 20;

/** The arms of interleaved results: items of an answer have no field for them, because some clients refuse fields they do not know. */
function teamHeader(ranking: RerankAnswer['ranking']): { readonly 'x-winnow-teams'?: string } {
  const teams = ranking.slice(0, TEAMS_SHOWN).flatMap(({ team }) => team ?? []);
  return teams.length > 0 ? { 'x-winnow-teams': teams.join(', ') } : {};
}

/** Headers with the names of Text Embeddings Inference (milliseconds and counts as whole numbers), then those of Winnow. */
function answerHeaders(
  { model, version, ranking, experiment }: RerankAnswer,
  { tokens, truncated, queryTruncated, pruned, kept, timings }: Totals,
  facts: {
    readonly characters: number;
    readonly elapsedMs: number;
    readonly provider: string;
    readonly ignored: readonly string[];
    /** Passages left out because of `min_score`. */
    readonly below: number | undefined;
  },
) {
  const whole = (ms: number) => String(Math.round(ms));
  return {
    'x-compute-type': facts.provider,
    'x-compute-time': whole(facts.elapsedMs),
    'x-compute-characters': String(facts.characters),
    'x-compute-tokens': String(tokens),
    'x-total-time': whole(facts.elapsedMs),
    'x-tokenization-time': whole(timings.tokenizeMs),
    'x-queue-time': whole(timings.queueMs),
    'x-inference-time': whole(timings.inferMs),
    'x-winnow-model': `${model}@${version}`,
    'x-winnow-truncated': String(truncated),
    ...(queryTruncated > 0 ? { 'x-winnow-query-truncated': String(queryTruncated) } : {}),
    ...(facts.ignored.length > 0 ? { 'x-winnow-ignored': facts.ignored.join(', ') } : {}),
    ...(facts.below === undefined ? {} : { 'x-winnow-below-min-score': String(facts.below) }),
    ...(pruned ? { 'x-winnow-pruned': String(pruned.passages) } : {}),
    ...(kept ? { 'x-winnow-kept-passages': String(kept.hits) } : {}),
    ...teamHeader(ranking),
    ...(experiment ? { 'x-winnow-experiment': experiment.name, 'x-winnow-arm': experiment.arm } : {}),
  };
}

/** Completes a query of the body with what headers, path and options say. */
function completeRequest(req: Request, res: Response, deps: HttpDeps, query: QueryRequest): RerankRequest {
  const exchange = exchangeOf(res);
  const {
    timeoutMs,
    user,
    truncate,
    priority,
    model: _model,
    names: _names,
    instructionField: _field,
    ...rest
  } = query;
  const deadlineMs = deadlineOf(req) ?? timeoutMs;
  return {
    ...rest,
    ...(priority === undefined ? {} : { priority: priorityOf(priority, exchange.caller) }),
    requestId: exchange.requestId,
    truncate: truncates(deps.options, truncate),
    lane: laneOf(req),
    deadlineMs: deadlineMs ?? deps.options.requestTimeoutMs,
    clientDeadline: deadlineMs !== undefined,
    signal: exchange.signal,
    subject: subjectOf(req, exchange.caller, user),
    ...modelOf(req, deps, query),
  };
}

function noteDialect(exchange: Exchange, { name, errors }: AnyDialect): void {
  exchange.dialect = name;
  exchange.errors = errors;
}

function readDialect(at: ScoringPath, req: Request, exchange: Exchange): AnyDialect {
  const pinecone = header(req, 'x-pinecone-api-version') === undefined ? undefined : 'pinecone';
  const sdk = [pinecone, header(req, 'x-fern-sdk-name'), header(req, 'x-voyage-user-agent'), header(req, 'user-agent')];
  const dialect = dialectOf(at, req.body, { sdk: sdk.filter(Boolean).join(' ') });
  noteDialect(exchange, dialect);
  return dialect;
}

interface NamedRequest {
  readonly request: RerankRequest;
  readonly names: SentNames;
}

/** Scores one request. A refusal uses the names of its body. */
async function rerankOne(reranker: Reranker, { request, names }: NamedRequest, signal = request.signal) {
  try {
    return await reranker.rerank(signal === undefined ? request : { ...request, signal });
  } catch (error) {
    throw inSentNames(error, names);
  }
}

/** Scores all requests side by side; the first failure aborts the others. */
async function rerankAll(
  reranker: Reranker,
  requests: readonly NamedRequest[],
  gone: AbortSignal,
): Promise<readonly RerankAnswer[]> {
  if (requests.length === 1) return [await rerankOne(reranker, requests[0]!)];
  const failed = new AbortController();
  const signal = AbortSignal.any([gone, failed.signal]);
  try {
    return await Promise.all(requests.map((one) => rerankOne(reranker, one, signal)));
  } catch (error) {
    failed.abort();
    throw error;
  }
}

const lengthOf = (pieces: readonly Buffer[]) => sumOf(pieces, (piece) => piece.length);

/** Writes an answer, and its type into the headers. Where bytes of tensors follow the JSON, a header has the length of the JSON. */
async function writeAnswer(res: Response, answer: AnswerText): Promise<readonly Buffer[]> {
  const json = await writeJson(answer);
  res.type(answer.binary ? 'application/octet-stream' : 'application/json');
  if (!answer.binary) return json;
  res.set('inference-header-content-length', String(lengthOf(json)));
  return [...json, answer.binary];
}

/** Scores, and counts a failure with the version that would have answered. */
async function counted<T>(
  statistics: ModelStatistics,
  { registry }: HttpDeps,
  [first]: readonly NamedRequest[],
  { started }: Exchange,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const status = statusOf(registry, first?.request.cascade?.at(-1)?.model ?? first?.request.model);
    if (status) statistics.failed(idOf(status), performance.now() - started);
    throw error;
  }
}

/** Returns the field of the instruction where no model of the request used it. */
const unusedInstruction = (requests: readonly QueryRequest[], answers: readonly RerankAnswer[]): readonly string[] =>
  answers.every(({ instructionIgnored }) => instructionIgnored) ? [requests[0]?.instructionField ?? []].flat() : [];

function scoringHandler(
  at: ScoringPath,
  deps: HttpDeps,
  budget: MinuteBudget,
  statistics: ModelStatistics,
): RequestHandler {
  return async function score(req, res) {
    const exchange = exchangeOf(res);
    const { startedAt, signal, requestId } = exchange;
    const dialect = readDialect(at, req, exchange);
    const body = await dialect.read(req.body, { maxPassages: deps.options.maxPassages }, exchange.tensorBytes);
    exchange.tensorBytes = undefined;
    const passages = sumOf(body.requests, (request) => request.passages.length);
    exchange.facts = { lane: laneOf(req), passages };
    spendPassages(budget, res, passages);
    const texts = await repairTexts(body.requests);
    const repaired = body.repaired + texts.changed;
    if (repaired > 0) res.set('x-winnow-repaired', String(repaired));
    const requests = texts.requests.map((query) => ({
      request: completeRequest(req, res, deps, query),
      names: query.names,
    }));
    if (requests.some(({ request: { priority } }, i) => priority !== body.requests[i]!.priority))
      res.set('x-winnow-priority', '0');
    const answers = await counted(statistics, deps, requests, exchange, () =>
      rerankAll(deps.reranker, requests, signal),
    );
    const totals = totalsOf(answers);
    const first = answers[0]!;
    const { model, version, experiment } = first;
    exchange.facts = { ...exchange.facts, model, version, ...(experiment ? { experiment } : {}), ...totals };
    traceStages(exchange.span, answers, totals.timings);
    const ignored = [...unusedInstruction(body.requests, answers), ...body.ignored];
    const warnings = warningsOf(answers, ignored, repaired);
    const created = Math.floor(startedAt / 1000);
    const { requests: asked } = texts;
    const writing = performance.now();
    const pieces = await writeAnswer(res, body.answer(answers, { requests: asked, requestId, created, warnings }));
    if (signal.aborted) return;
    const characters = sumOf(texts.requests, charactersIn);
    const done = performance.now();
    const elapsedMs = done - exchange.started;
    const stages = { ...totals.timings, totalMs: elapsedMs, writeMs: done - writing };
    statistics.answered(`${model}@${version}`, startedAt, stages);
    const { provider } = deps.info();
    res.set(
      answerHeaders(first, totals, {
        characters,
        elapsedMs,
        provider,
        ignored: [...unusedPrune(body.requests, answers), ...ignored],
        below: belowMinScore(answers),
      }),
    );
    sendPieces(res, deps, pieces);
  };
}

/** Writes errors that occur before the body is read in the form of the path's own dialect. */
function prepareErrors({ dialect }: ScoringPath, deps: HttpDeps): RequestHandler {
  return function noteDialectOfPath(_req, res, next) {
    noteDialect(exchangeOf(res), dialect);
    deps.telemetry.onScoringStart?.();
    next();
  };
}

/** Returns a route for every path that scores, and that of tokens. @param budget of texts a minute. */
export function scoringRoutes(deps: HttpDeps, statistics: ModelStatistics, budget: MinuteBudget): readonly Route[] {
  const scoring = SCORING_PATHS.map(
    (at): Route => ({
      method: 'post',
      path: at.path,
      access: 'rerank',
      body: at.dialect.takesBytes ? 'tensors' : 'json',
      prepare: prepareErrors(at, deps),
      handler: scoringHandler(at, deps, budget, statistics),
    }),
  );
  return [...scoring, tokenizeRoute(deps, budget)];
}
