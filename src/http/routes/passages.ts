import type { Request, RequestHandler, Response } from 'express';
import type { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import type { KeptCounts, PassagesApi, VersionName, WarmAnswer, WarmRequest } from '../../rerank/passages-api.ts';
import { documentsOf, documentText } from '../dialects/content.ts';
import { fieldsOf } from '../dialects/documents.ts';
import { checkCount, commonOptions, withoutEmpty } from '../dialects/fields.ts';
import { ignoredFields } from '../dialects/ignored.ts';
import { inSentNames, listNames } from '../dialects/sent-names.ts';
import { exchangeOf } from '../exchange.ts';
import { invalidField, parseOrRefuse } from '../faults.ts';
import { ANONYMOUS, type Caller, mayUse, scopeRefusal } from '../keys.ts';
import { spendPassages } from '../middleware/rate-limit.ts';
import type { MinuteBudget } from '../minute-budget.ts';
import type { HttpDeps } from '../ports.ts';
import { noteReplicas, warningsField } from '../replicas.ts';
import { deadlineOf, priorityOf, subjectOf } from '../request-headers.ts';
import { repairTexts } from '../text-repair.ts';
import { truncates } from '../truncates.ts';
import { referenceOf, versionsNamed } from './models.ts';
import {
  MOST_PLACES,
  type PassagesAnswer,
  type PassagesRemoved,
  type PassagesReport,
  passagesQuery,
  passagesRequest,
} from './passage-schemas.ts';
import type { Route } from './route.ts';

type Body = z.infer<typeof passagesRequest>;

type Handler = (api: PassagesApi, req: Request, res: Response) => Promise<void> | void;

const isAdmin = (caller: Caller | undefined): boolean => caller !== undefined && mayUse(caller, 'admin');

/** Returns whose entries a caller sees: its own, or all with scope admin and where keys share them. */
const ownerOf = (caller: Caller | undefined, { shared }: PassagesApi): string | undefined =>
  shared || isAdmin(caller) ? undefined : (caller?.name ?? ANONYMOUS.name);

/** What a body says beside its documents. */
interface Remarks {
  readonly documents: number;
  readonly ignored: readonly string[];
  /** Documents in which bad characters were changed. */
  readonly repaired: number;
  readonly replicas: readonly string[];
}

function answerOf(warmed: WarmAnswer, { documents, ignored, repaired, replicas }: Remarks): PassagesAnswer {
  const { model, version, stored, present, notKept, tooLong, leftOut, tokens, bytes } = warmed;
  const cut = tooLong.length - leftOut;
  const warnings = [
    ...(cut > 0 ? [`${cut} of ${documents} documents were truncated`] : []),
    ...(leftOut > 0 ? [`${leftOut} of ${documents} documents are too long and were left out`] : []),
    ...(notKept > 0 ? [`${notKept} of ${documents} documents were read and not kept: raise cache.passageBytes`] : []),
    ...(repaired > 0 ? [`NUL or halves of characters were dropped or replaced in ${repaired} documents`] : []),
    ...ignored.map((field) => `\`${field}\` is not supported and had no effect`),
    ...replicas,
  ];
  return {
    object: 'passages',
    model,
    version,
    documents,
    stored,
    present,
    not_kept: notKept,
    too_long: tooLong.length,
    left_out: leftOut,
    ...(tooLong.length > 0 ? { too_long_at: tooLong.slice(0, MOST_PLACES) } : {}),
    tokens,
    bytes,
    ...warningsField(warnings),
  };
}

/** Completes what a body asks for with headers and options. */
function warmRequest(
  req: Request,
  res: Response,
  deps: HttpDeps,
  body: Body,
  passages: readonly string[],
): WarmRequest {
  const { caller, signal } = exchangeOf(res);
  const { truncate, model, timeoutMs, priority, side, longPassages, maxPairTokens, maxPassageTokens, maxWindows } =
    commonOptions(body);
  return {
    ...withoutEmpty({ side, longPassages, maxPairTokens, maxPassageTokens, maxWindows }),
    ...(priority === undefined ? {} : { priority: priorityOf(priority, caller) }),
    ...(model === undefined ? {} : { model: deps.registry.canonical(model) }),
    passages,
    truncate: truncates(deps.options, truncate),
    deadlineMs: deadlineOf(req) ?? timeoutMs ?? deps.options.requestTimeoutMs,
    signal,
    subject: subjectOf(req, caller, undefined),
  };
}

const warm =
  (deps: HttpDeps, budget: MinuteBudget): Handler =>
  async (api, req, res) => {
    const exchange = exchangeOf(res);
    const body = parseOrRefuse(passagesRequest, req.body);
    const { list, field } = documentsOf(body.documents);
    checkCount(list.length, field, deps.options);
    const fields = fieldsOf(body);
    const sent = list.map((document, i) => documentText(document, fields, `${field}[${i}]`));
    exchange.facts = { lane: 'batch', passages: sent.length };
    spendPassages(budget, res, sent.length);
    const { requests, changed } = await repairTexts([{ query: '', passages: sent }]);
    const asked = warmRequest(req, res, deps, body, requests[0]!.passages);
    const warmed = await api.warm(asked).catch((error: unknown) => {
      throw inSentNames(error, listNames(field));
    });
    const { model, version, tokens, timings } = warmed;
    exchange.facts = { ...exchange.facts, model, version, tokens, timings };
    const ignored = ignoredFields(passagesRequest, req.body);
    if (ignored.length > 0) res.set('x-winnow-ignored', ignored.join(', '));
    if (changed > 0) res.set('x-winnow-repaired', String(changed));
    res.set('x-winnow-model', `${model}@${version}`);
    const replicas = noteReplicas(res, deps.replicas, 'passages');
    res.json(answerOf(warmed, { documents: sent.length, ignored, repaired: changed, replicas }));
  };

const countsOf = ({ entries, bytes, hits, misses, evictions, unkept }: KeptCounts) => ({
  entries,
  bytes,
  hits,
  misses,
  hit_rate: hits + misses > 0 ? hits / (hits + misses) : null,
  evictions,
  unkept,
});

const show: Handler = (api, _req, res) => {
  const { caller } = exchangeOf(res);
  const owner = ownerOf(caller, api);
  const report = api.report(owner);
  res.json({
    object: 'passages',
    of: owner === undefined ? 'all' : 'own',
    shared: api.shared,
    limit_bytes: report.limitBytes,
    ...countsOf(report),
    models: report.models.map(({ model, version, variant, ...counts }) => ({
      model,
      version,
      variant,
      ...countsOf(counts),
    })),
    ...(report.file && isAdmin(caller) ? { file: report.file } : {}),
  } satisfies PassagesReport);
};

/** Returns the model that query or body name. @throws WinnowError `invalid_field` for other fields, and where the two differ. */
function modelToClear(req: Request): string | undefined {
  const { model: inQuery } = parseOrRefuse(passagesQuery, req.query);
  const { model = inQuery } = parseOrRefuse(passagesQuery, req.body ?? {});
  if (inQuery === undefined || model === inQuery) return model;
  throw invalidField('the `model` of the query', describe(model), 'model');
}

/** Returns the versions that a client's name means. @throws WinnowError `unknown_model`, `unknown_version`. */
function versionsToClear({ registry }: HttpDeps, asked: string): readonly VersionName[] {
  const { name, version, label } = referenceOf(registry, asked);
  const versions = versionsNamed(registry, asked);
  return version === undefined && label === undefined ? [{ name }] : versions;
}

const remove =
  (deps: HttpDeps): Handler =>
  async (api, req, res) => {
    const { caller } = exchangeOf(res);
    const owner = ownerOf(caller, api);
    // Without keys, and where keys share entries, a caller without the scope would empty what others use.
    if (!isAdmin(caller) && (owner === undefined || owner === ANONYMOUS.name)) throw scopeRefusal(caller, 'admin');
    const model = modelToClear(req);
    const removed = await api.clear(model === undefined ? undefined : versionsToClear(deps, model), owner);
    const warnings = noteReplicas(res, deps.replicas, 'passages');
    res.json({
      object: 'passages',
      of: owner === undefined ? 'all' : 'own',
      ...removed,
      ...warningsField(warnings),
    } satisfies PassagesRemoved);
  };

/** Returns the routes of kept passages: reading ahead, counts, and removal. */
export function passageRoutes(deps: HttpDeps, budget: MinuteBudget): readonly Route[] {
  const answer =
    (work: Handler): RequestHandler =>
    (req, res) => {
      if (!deps.passages) throw new WinnowError('passage_cache_off');
      return work(deps.passages, req, res);
    };
  const path = '/v1/passages';
  const access = 'rerank';
  return [
    { method: 'post', path, access, on: 'main', body: 'json', handler: answer(warm(deps, budget)) },
    { method: 'get', path, access, handler: answer(show) },
    { method: 'delete', path, access, body: 'optional-json', handler: answer(remove(deps)) },
  ];
}
