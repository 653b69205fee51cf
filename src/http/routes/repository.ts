import type { Request, RequestHandler } from 'express';
import type { ModelRegistry, VersionState } from '../../registry/registry-types.ts';
import { parseOrRefuse } from '../faults.ts';
import type { HttpDeps } from '../ports.ts';
import { noteReplicas, warningsField } from '../replicas.ts';
import { entryOf, pathParam, referenceOf, versionsOf } from './models.ts';
import type { Route } from './route.ts';
import { type IndexAnswer, indexRequest, type LoadAnswer, loadRequest } from './schemas.ts';

/** Triton's names of the states. */
const TRITON_STATES: Readonly<Record<VersionState, IndexAnswer[number]['state']>> = {
  ready: 'READY',
  loading: 'LOADING',
  draining: 'UNLOADING',
  available: 'UNAVAILABLE',
  refused: 'UNAVAILABLE',
  unloaded: 'UNAVAILABLE',
};

function index(deps: HttpDeps): RequestHandler {
  return (req, res) => {
    const { ready } = parseOrRefuse(indexRequest, req.body ?? {});
    const answer: IndexAnswer = deps.registry
      .list()
      .filter((status) => !ready || status.state === 'ready')
      .map(({ name, version, state, reason }) => ({
        name,
        version,
        state: TRITON_STATES[state],
        reason: state === 'ready' ? '' : (reason ?? state),
      }));
    res.json(answer);
  };
}

/** Model and version to load or unload: `model@version` in the path, or `parameters.version`. */
function target(
  registry: ModelRegistry,
  req: Request,
): { readonly name: string; readonly version: string | undefined } {
  const { name, version, label } = referenceOf(registry, pathParam(req.params, 'model'));
  const { parameters } = parseOrRefuse(loadRequest, req.body ?? {});
  // Only models and versions are loaded: the registry refuses a name with a label as unknown.
  return { name: label === undefined ? name : `${name}:${label}`, version: parameters?.version ?? version };
}

function load(deps: HttpDeps): RequestHandler {
  return async (req, res) => {
    const { name, version } = target(deps.registry, req);
    const versions = await deps.registry.load(name, version);
    const warnings = noteReplicas(res, deps.replicas, 'memory');
    const entries = versions.map((status) => entryOf(status, deps));
    const answer: LoadAnswer = { name, versions: entries, ...warningsField(warnings) };
    res.json(answer);
  };
}

function unload(deps: HttpDeps): RequestHandler {
  return async (req, res) => {
    const { name, version } = target(deps.registry, req);
    await deps.registry.unload(name, version);
    const versions = versionsOf(deps.registry, name).map((status) => entryOf(status, deps));
    const warnings = noteReplicas(res, deps.replicas, 'memory');
    res.json({ name, versions, ...warningsField(warnings) } satisfies LoadAnswer);
  };
}

/** Returns the routes of Triton's model repository extension. */
export function repositoryRoutes(deps: HttpDeps): readonly Route[] {
  const post = { method: 'post', body: 'repository' } as const;
  return [
    { ...post, path: '/v2/repository/index', access: 'rerank', handler: index(deps) },
    { ...post, path: '/v2/repository/models/:model/load', access: 'admin', handler: load(deps) },
    { ...post, path: '/v2/repository/models/:model/unload', access: 'admin', handler: unload(deps) },
  ];
}
