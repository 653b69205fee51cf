import type { Request, RequestHandler } from 'express';
import { smallestLimit } from '../../registry/pair-limits.ts';
import type { ModelRegistry, ServedVersion, VersionStatus } from '../../registry/registry-types.ts';
import { kindOf } from '../../registry/side-encoder.ts';
import type { HttpDeps } from '../ports.ts';
import { calibrationOf } from './calibration.ts';
import { atVersion, mayAnswer, pathParam, versionsNamed } from './models.ts';
import type { Route } from './route.ts';
import type { Info, KserveModel, KserveReady, KserveServer, Meta } from './schemas.ts';

/** Text Embeddings Inference's names of variants (`dtype`). */
const DTYPES: Readonly<Record<string, string>> = { fp32: 'float32', fp16: 'float16' };

/** Triton's names of the extensions of the protocol that are served, and `metrics`. */
const EXTENSIONS = [
  'binary_tensor_data',
  'model_configuration',
  'model_repository',
  'model_repository(unload_dependents)',
  'parameters',
  'schedule_policy',
  'statistics',
  'metrics',
] as const;

/** How a relevance score is computed, by activation. */
const SCORES = { sigmoid: 'sigmoid(logit) unless raw_scores', none: 'logit' } as const;

/** Says how a version's relevance scores are computed. */
const scoreText = ({ activation, calibration }: ServedVersion): Info['score'] =>
  calibration ? 'calibrated probability unless raw_scores' : SCORES[activation];

/** Returns the version that answers requests without `model`, if it is in memory; never loads it. */
async function defaultVersion(registry: ModelRegistry): Promise<ServedVersion | undefined> {
  const reference = registry.defaultModel;
  if (!registry.list().some((status) => status.state === 'ready' && mayAnswer(reference, status))) return undefined;
  try {
    const lease = await registry.acquire(reference);
    lease.release();
    return lease.version;
  } catch {
    // It may have been unloaded since `list`.
    return undefined;
  }
}

function infoHandler(deps: HttpDeps): RequestHandler {
  return async (_req, res) => {
    const served = await defaultVersion(deps.registry);
    const service = deps.info();
    const answer: Info = {
      model_id: deps.registry.defaultModel ?? null,
      model_sha: served?.sha256 ?? null,
      model_version: served?.version ?? null,
      model_dtype: served ? (DTYPES[served.variant] ?? served.variant) : null,
      served_model_name: deps.registry.defaultModel ?? null,
      model_type: { reranker: { id2label: { '0': 'LABEL_0' }, label2id: { LABEL_0: 0 } } },
      max_concurrent_requests: null,
      max_input_length: served?.maxLength ?? null,
      max_query_tokens: (served && smallestLimit(served.maxQueryTokens, deps.options.maxQueryTokens)) ?? null,
      max_batch_tokens: service.maxBatchTokens,
      max_batch_requests: service.maxBatchRows,
      max_client_batch_size: deps.options.maxPassages,
      auto_truncate: Boolean(deps.options.autoTruncate ?? true),
      tokenization_workers: service.tokenizationWorkers,
      version: service.version,
      sha: null,
      docker_label: null,
      provider: served?.provider ?? service.provider,
      hosts: service.hosts,
      ...(service.devices.length > 0 ? { devices: [...service.devices] } : {}),
      body_limit_bytes: deps.options.bodyLimitBytes,
      rewrite: served?.rewrite ?? null,
      score: served ? scoreText(served) : null,
      calibration: served?.calibration ? calibrationOf(served.calibration) : null,
      model_kind: served ? kindOf(served) : null,
    };
    res.json(answer);
  };
}

function metaHandler(deps: HttpDeps): RequestHandler {
  return async (_req, res) => {
    const served = await defaultVersion(deps.registry);
    const answer: Meta = {
      model: deps.registry.defaultModel ?? null,
      model_version: served?.version ?? null,
      max_length: served?.maxLength ?? null,
      version: deps.info().version,
    };
    res.json(answer);
  };
}

function serverMetadata(deps: HttpDeps): RequestHandler {
  return (_req, res) => {
    const answer: KserveServer = {
      name: 'winnow',
      version: deps.info().version,
      extensions: [...EXTENSIONS],
    };
    res.json(answer);
  };
}

/** Returns the versions that the path names. @throws WinnowError `unknown_model`, `unknown_version`. */
export function versionsAt(
  deps: Pick<HttpDeps, 'registry'>,
  req: Request,
): { readonly name: string; readonly versions: readonly VersionStatus[] } {
  const name = pathParam(req.params, 'model');
  const version = pathParam(req.params, 'version');
  const reference = version ? atVersion(deps.registry, name, version) : name;
  return { name, versions: versionsNamed(deps.registry, reference) };
}

interface TensorFacts {
  readonly name: string;
  readonly datatype: 'BYTES' | 'FP32';
  readonly shape: readonly number[];
}

/** Tensors of every model, as KServe and Triton describe them. */
export const TENSORS: Readonly<Record<'inputs' | 'outputs', readonly TensorFacts[]>> = {
  inputs: [
    { name: 'query', datatype: 'BYTES', shape: [1] },
    { name: 'passages', datatype: 'BYTES', shape: [-1] },
  ],
  outputs: [{ name: 'scores', datatype: 'FP32', shape: [-1] }],
};

const shown = (tensors: readonly TensorFacts[]) => tensors.map((one) => ({ ...one, shape: [...one.shape] }));

function modelMetadata(deps: HttpDeps): RequestHandler {
  return (req, res) => {
    const { name, versions } = versionsAt(deps, req);
    const answer: KserveModel = {
      name,
      versions: versions.map((status) => status.version),
      platform: 'onnxruntime_onnx',
      inputs: shown(TENSORS.inputs),
      outputs: shown(TENSORS.outputs),
    };
    res.json(answer);
  };
}

function modelReady(deps: HttpDeps): RequestHandler {
  return (req, res) => {
    const { name, versions } = versionsAt(deps, req);
    const ready = versions.some((status) => status.state === 'ready');
    res.status(ready ? 200 : 503).json({ name, ready } satisfies KserveReady);
  };
}

/** Returns the routes that describe the service and its models to clients of Text Embeddings Inference, Weaviate and KServe. */
export function infoRoutes(deps: HttpDeps): readonly Route[] {
  const get = { method: 'get', access: 'rerank' } as const;
  return [
    { ...get, path: '/info', handler: infoHandler(deps) },
    { ...get, path: '/meta', handler: metaHandler(deps) },
    { ...get, path: '/v2', handler: serverMetadata(deps) },
    { ...get, path: '/v2/models/:model', handler: modelMetadata(deps) },
    { ...get, path: '/v2/models/:model/ready', handler: modelReady(deps) },
    { ...get, path: '/v2/models/:model/versions/:version', handler: modelMetadata(deps) },
    { ...get, path: '/v2/models/:model/versions/:version/ready', handler: modelReady(deps) },
  ];
}
