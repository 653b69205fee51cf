import type { RequestHandler } from 'express';
import type { VersionStatus } from '../../registry/registry-types.ts';
import type { ModelStatistics, Times } from '../model-statistics.ts';
import type { BatchCounts, HttpDeps } from '../ports.ts';
import { TENSORS, versionsAt } from './info.ts';
import { idOf, statusOf } from './listed-models.ts';
import type { Route } from './route.ts';
import type { TritonConfig, TritonStatistics } from './schemas.ts';

/** Triton's names of data types. */
const DATA_TYPES = { BYTES: 'TYPE_STRING', FP32: 'TYPE_FP32' } as const;

const tensorsOf = (tensors: (typeof TENSORS)['inputs']): TritonConfig['input'] =>
  tensors.map(({ name, datatype, shape }) => ({ name, data_type: DATA_TYPES[datatype], dims: [...shape] }));

/** Facts of a version that Triton has no field for. Of one that was never loaded most are unknown. */
function parametersOf({ version, state, variant, provider, maxLength, activation }: VersionStatus) {
  const facts = { version, state, variant, provider, max_length: maxLength, activation };
  return Object.fromEntries(
    Object.entries(facts).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, { string_value: String(value) }]],
    ),
  );
}

function modelConfig(deps: HttpDeps): RequestHandler {
  return (req, res) => {
    const { name, versions } = versionsAt(deps, req);
    const current = versions.length === 1 ? versions[0]! : (statusOf(deps.registry, name) ?? versions[0]!);
    const { hosts, devices, provider } = deps.info();
    const kind = (current.provider ?? provider) === 'cpu' ? 'KIND_CPU' : 'KIND_GPU';
    const answer: TritonConfig = {
      name,
      platform: 'onnxruntime_onnx',
      backend: 'onnxruntime',
      version_policy: { all: {} },
      max_batch_size: 0,
      input: tensorsOf(TENSORS.inputs),
      output: tensorsOf(TENSORS.outputs),
      // With `gpus`, the count is that of each of them.
      instance_group: [
        kind === 'KIND_GPU' && devices.length > 0
          ? { kind, count: hosts / devices.length, gpus: [...devices] }
          : { kind, count: hosts },
      ],
      parameters: parametersOf(current),
    };
    res.json(answer);
  };
}

const inNanoseconds = ({ count, ms }: Times) => ({ count, ns: Math.round(ms * 1e6) });

function statisticsOf(
  status: VersionStatus,
  statistics: ModelStatistics,
  batches: ReadonlyMap<string, BatchCounts>,
): TritonStatistics['model_stats'][number] {
  const id = idOf(status);
  const counted = statistics.of(id);
  const run = batches.get(id);
  return {
    name: status.name,
    version: status.version,
    last_inference: counted.lastAnswer,
    inference_count: run?.rows ?? 0,
    execution_count: run?.batches ?? 0,
    inference_stats: {
      success: inNanoseconds(counted.success),
      fail: inNanoseconds(counted.fail),
      queue: inNanoseconds(counted.queue),
      compute_input: inNanoseconds(counted.tokenize),
      compute_infer: inNanoseconds(counted.infer),
      compute_output: inNanoseconds(counted.write),
    },
  };
}

function showStatistics(deps: HttpDeps, statistics: ModelStatistics, ofAll: boolean): RequestHandler {
  return async (req, res) => {
    const versions = ofAll ? deps.registry.list() : versionsAt(deps, req).versions;
    const batches = await deps.telemetry.batches();
    const answer: TritonStatistics = {
      model_stats: versions.map((status) => statisticsOf(status, statistics, batches)),
    };
    res.json(answer);
  };
}

/** Returns the routes of Triton's extensions that describe models: their configuration and their statistics. */
export function tritonRoutes(deps: HttpDeps, statistics: ModelStatistics): readonly Route[] {
  const get = { method: 'get', access: 'rerank' } as const;
  const ofOne = showStatistics(deps, statistics, false);
  return [
    // Before the metadata of models, because `stats` is no model here.
    { ...get, path: '/v2/models/stats', handler: showStatistics(deps, statistics, true) },
    { ...get, path: '/v2/models/:model/stats', handler: ofOne },
    { ...get, path: '/v2/models/:model/versions/:version/stats', handler: ofOne },
    { ...get, path: '/v2/models/:model/config', handler: modelConfig(deps) },
    { ...get, path: '/v2/models/:model/versions/:version/config', handler: modelConfig(deps) },
  ];
}
