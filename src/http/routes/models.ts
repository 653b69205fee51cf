import type { RequestHandler } from 'express';
import { WinnowError } from '../../errors.ts';
import { parseReference, type Reference } from '../../registry/model-names.ts';
import { smallestLimit } from '../../registry/pair-limits.ts';
import type { ModelRegistry, VersionStatus } from '../../registry/registry-types.ts';
import { unknownModel, unknownVersion } from '../../registry/unknown-names.ts';
import { cascadeNamed } from '../../rerank/named-cascades.ts';
import { parseOrRefuse } from '../faults.ts';
import type { HttpDeps } from '../ports.ts';
import { noteReplicas, warningsField } from '../replicas.ts';
import { calibrationOf } from './calibration.ts';
import { idOf, type ListedName, listedNames } from './listed-models.ts';
import type { Route } from './route.ts';
import { type LabelAnswer, labelRequest, type ModelEntry, type ModelList, type ModelVersions } from './schemas.ts';

type Deps = Pick<HttpDeps, 'registry' | 'info' | 'options'>;

const startSeconds = ({ info }: Deps) => Math.floor(info().startedAt / 1000);

/** Whether a reference may mean a version: `model`, `model@version` or `model:label`. */
export function mayAnswer(reference: string | undefined, { name, version, labels }: VersionStatus): boolean {
  const references = [name, `${name}@${version}`, ...labels.map((label) => `${name}:${label}`)];
  return reference !== undefined && references.includes(reference);
}

/** Returns a version's status as the API shows it, under a name that means it: its own by default. */
export function entryOf(
  status: VersionStatus,
  deps: Deps,
  { id, kind }: Pick<ListedName, 'id' | 'kind'> = { id: idOf(status), kind: 'version' },
): ModelEntry {
  const { name, version, state, reason, labels, variant, provider, maxLength, activation, objective } = status;
  const { warnings, rewrite, bytes, lastUsed } = status;
  // Of a version that was never loaded nothing is known yet.
  const queryLimit = maxLength ? smallestLimit(status.maxQueryTokens, deps.options.maxQueryTokens) : undefined;
  return {
    id,
    kind,
    object: 'model',
    created: startSeconds(deps),
    owned_by: 'winnow',
    name,
    version,
    state,
    ...(reason ? { reason } : {}),
    labels: [...labels],
    default: mayAnswer(deps.registry.defaultModel, status),
    ...(variant ? { variant } : {}),
    ...(provider ? { provider } : {}),
    ...(maxLength ? { max_length: maxLength } : {}),
    ...(queryLimit ? { max_query_tokens: queryLimit } : {}),
    ...(activation ? { activation } : {}),
    ...(status.calibration ? { calibration: calibrationOf(status.calibration) } : {}),
    ...(status.kind ? { model_kind: status.kind } : {}),
    ...(objective ? { objective } : {}),
    ...(warnings ? { warnings: [...warnings] } : {}),
    ...(rewrite ? { rewrite } : {}),
    ...(bytes === undefined ? {} : { bytes: Math.round(bytes) }),
    ...(lastUsed === undefined ? {} : { last_used: Math.round(lastUsed) }),
  };
}

/** Returns every version of a model. @throws WinnowError `unknown_model`. */
export function versionsOf(registry: ModelRegistry, name: string): readonly VersionStatus[] {
  const all = registry.list();
  const versions = all.filter((status) => status.name === name);
  if (versions.length > 0) return versions;
  throw unknownModel(
    all.map((status) => status.name),
    name,
  );
}

/** Returns the reference that a client's name means. Text that is no reference is a name that no model has. */
export function referenceOf(registry: Pick<ModelRegistry, 'canonical'>, asked: string): Reference {
  const text = registry.canonical(asked);
  return parseReference(text) ?? { name: text };
}

/** Returns the reference to a version of the model that a client's name means, whatever version or label the name has. */
export const atVersion = (registry: Pick<ModelRegistry, 'canonical'>, asked: string, version: string): string =>
  `${referenceOf(registry, asked).name}@${version}`;

/**
 * Returns the versions that a client's name means: one for a version or label, or all of a model.
 * @throws WinnowError `unknown_model`, `unknown_version`.
 */
export function versionsNamed(registry: ModelRegistry, asked: string): readonly VersionStatus[] {
  const { name, version, label } = referenceOf(registry, asked);
  const versions = versionsOf(registry, name);
  const part = version ?? label;
  if (part === undefined) return versions;
  const found = versions.filter((status) => (label ? status.labels.includes(label) : status.version === version));
  if (found.length > 0) return found;
  const known = [...versions.map((status) => status.version), ...new Set(versions.flatMap(({ labels }) => labels))];
  throw unknownVersion(name, known, part);
}

/** Returns a parameter of the path. */
export function pathParam(params: Readonly<Record<string, string | string[]>>, name: string): string {
  const value = params[name];
  return typeof value === 'string' ? value : (value ?? []).join('/');
}

const cohereEntryOf = ({ id, status }: ListedName): ModelList['models'][number] => ({
  name: id,
  endpoints: ['rerank'],
  finetuned: false,
  ...(status.maxLength ? { context_length: status.maxLength } : {}),
});

/** Returns the stages of a name that means a cascade, as the API shows them. */
function stagesOf({ options, registry }: HttpDeps, { id, kind }: ListedName): Pick<ModelEntry, 'cascade'> {
  const cascade = kind === 'alias' ? cascadeNamed(options.cascades, id, registry.canonical(id)) : undefined;
  return cascade ? { cascade: cascade.map((stage) => ({ ...stage })) } : {};
}

function listModels(deps: HttpDeps): RequestHandler {
  return (_req, res) => {
    const names = listedNames(deps.registry);
    const answer: ModelList = {
      object: 'list',
      data: names.map((one) => ({ ...entryOf(one.status, deps, one), ...stagesOf(deps, one) })),
      models: names.filter(({ status }) => status.state !== 'refused').map(cohereEntryOf),
    };
    res.json(answer);
  };
}

function showModel(deps: HttpDeps): RequestHandler {
  return (req, res) => {
    const reference = pathParam(req.params, 'model');
    const answer: ModelVersions = {
      id: reference,
      object: 'model',
      created: startSeconds(deps),
      owned_by: 'winnow',
      versions: versionsNamed(deps.registry, reference).map((status) => entryOf(status, deps)),
    };
    res.json(answer);
  };
}

const LABEL = /^[A-Za-z][\w.-]{0,63}$/;

function setLabel(deps: HttpDeps): RequestHandler {
  return async (req, res) => {
    const { name } = referenceOf(deps.registry, pathParam(req.params, 'model'));
    const label = pathParam(req.params, 'label');
    const version = String(parseOrRefuse(labelRequest, req.body).version);
    if (!LABEL.test(label))
      throw new WinnowError('invalid_field', {
        expected: 'a label of letters, digits, `.`, `_` and `-`',
        got: JSON.stringify(label.slice(0, 64)),
        field: 'label',
      });
    await deps.registry.setLabel(name, label, version);
    const warnings = noteReplicas(res, deps.replicas, 'folder');
    const answer: LabelAnswer = { name, label, version, ...warningsField(warnings) };
    res.json(answer);
  };
}

/** Returns the routes of models: `GET /v1/models` in the form of OpenAI's clients, with states and reasons, and the change of labels. */
export function modelRoutes(deps: HttpDeps): readonly Route[] {
  return [
    { method: 'get', path: '/v1/models', access: 'rerank', handler: listModels(deps) },
    // Every rest of the path, because names may have a slash that the client does not encode.
    { method: 'get', path: '/v1/models/*model', access: 'rerank', handler: showModel(deps) },
    { method: 'put', path: '/v1/models/:model/labels/:label', access: 'admin', body: 'json', handler: setLabel(deps) },
  ];
}
