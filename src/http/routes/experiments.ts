import type { Request, RequestHandler, Response } from 'express';
import { WinnowError } from '../../errors.ts';
import { DEFINITION_HASH, type Since } from '../../experiments/analysis/period.ts';
import type { ExperimentsApi } from '../../experiments/experiments-api.ts';
import { exchangeOf } from '../exchange.ts';
import { parseOrRefuse } from '../faults.ts';
import { ANONYMOUS } from '../keys.ts';
import type { HttpDeps } from '../ports.ts';
import { noteReplicas, warningsField } from '../replicas.ts';
import { outcomesSchema, reportQuery, seriesQuery } from './experiment-schemas.ts';
import { pathParam } from './models.ts';
import type { Route } from './route.ts';

type Deps = Pick<HttpDeps, 'experiments' | 'replicas'>;

type Handler = (api: ExperimentsApi, req: Request, res: Response) => void | Promise<void>;

const DEFAULT_POINTS = 30;

const nameOf = (req: Request): string => pathParam(req.params, 'experiment');

const callerName = (res: Response): string => exchangeOf(res).caller?.name ?? ANONYMOUS.name;

/** A time of the query, as milliseconds since 1970. */
const timeOf = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : /^\d+$/.test(text) ? Number(text) : Date.parse(text);

/** When figures begin: a definition, by its hash, or a time. */
const sinceOf = (text: string | undefined): Since | undefined =>
  text !== undefined && DEFINITION_HASH.test(text) ? text : timeOf(text);

/** A single outcome of an unknown request or unit, or whose key is taken, is an error; in an array it is an entry of the answer. */
const postOutcomes: Handler = async (api, req, res) => {
  const sent = parseOrRefuse(outcomesSchema, req.body);
  const results = await api.addOutcomes(Array.isArray(sent) ? sent : [sent]);
  if (Array.isArray(sent)) {
    const count = (status: string) => results.filter((result) => result.status === status).length;
    res.json({
      stored: count('stored'),
      duplicates: count('duplicate'),
      conflicts: count('conflict'),
      unknown: count('unknown'),
      results,
    });
    return;
  }
  const [result] = results;
  if (result!.status === 'unknown')
    throw new WinnowError('unknown_request', { days: api.retentionDays, got: sent.request_id ?? 'an unknown unit' });
  if (result!.status === 'conflict')
    throw new WinnowError('outcome_conflict', { metric: sent.metric, key: result!.key });
  res.json(result);
};

const putExperiment =
  ({ replicas }: Deps): Handler =>
  async (api, req, res) => {
    const { created, view } = await api.put(nameOf(req), req.body, callerName(res));
    const warnings = [...(view.warnings ?? []), ...noteReplicas(res, replicas, 'database')];
    res.status(created ? 201 : 200).json({ ...view, ...warningsField(warnings) });
  };

const removeExperiment =
  ({ replicas }: Deps): Handler =>
  async (api, req, res) => {
    await api.remove(nameOf(req), callerName(res));
    noteReplicas(res, replicas, 'database');
    res.status(204).end();
  };

const showReport: Handler = async (api, req, res) => {
  const { until, since } = parseOrRefuse(reportQuery, req.query);
  res.json(await api.report(nameOf(req), timeOf(until), sinceOf(since)));
};

const showSeries: Handler = async (api, req, res) => {
  const { until, since, points } = parseOrRefuse(seriesQuery, req.query);
  res.json(await api.series(nameOf(req), points ?? DEFAULT_POINTS, timeOf(until), sinceOf(since)));
};

const showAudits: Handler = async (api, req, res) => {
  res.json({ audits: await api.audits(nameOf(req)) });
};

/** Returns the routes of outcomes and of experiments: definitions, reports, audits. */
export function experimentRoutes(deps: Deps): readonly Route[] {
  const answer =
    (work: Handler): RequestHandler =>
    (req, res) => {
      if (!deps.experiments) {
        const known = 'this service keeps no experiments';
        throw new WinnowError('not_found', { method: req.method, path: req.path.slice(0, 200), known });
      }
      return work(deps.experiments, req, res);
    };
  const one = '/v1/experiments/:experiment';
  const admin = (method: Route['method'], path: string, work: Handler): Route => ({
    method,
    path,
    access: 'admin',
    handler: answer(work),
    ...(method === 'put' ? { body: 'json' } : {}),
  });
  return [
    {
      method: 'post',
      path: '/v1/outcomes',
      access: 'outcomes',
      on: 'main',
      body: 'json',
      handler: answer(postOutcomes),
    },
    admin('get', '/v1/experiments', (api, _req, res) => void res.json({ experiments: api.list() })),
    admin('get', one, (api, req, res) => void res.json(api.get(nameOf(req)))),
    admin('put', one, putExperiment(deps)),
    admin('delete', one, removeExperiment(deps)),
    admin('get', `${one}/report`, showReport),
    admin('get', `${one}/series`, showSeries),
    admin('get', `${one}/audits`, showAudits),
  ];
}
