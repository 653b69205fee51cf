import { WinnowError } from '../errors.ts';
import { InferenceSession, listSupportedBackends } from '../onnx/engine.ts';
import type { Model } from '../onnx/graph.ts';
import { openModel } from '../onnx/open-model.ts';
import { candidates, type GraphicsFacts, graphicsFacts } from './adapters.ts';
import { cpuBudget } from './cgroup.ts';
import { choosesDevice } from './host-layout.ts';
import type { Provider, ProviderSetting } from './inference-types.ts';

export interface SessionSettings {
  readonly provider?: Provider;
  /** Threads of one operator, the calling thread included; 0 (the default) takes the whole CPU budget. */
  readonly threads?: number;
  /** GPU index. */
  readonly device?: number;
  /** How far the engine rewrites the graph. Training limits it where fusions prevent gradients. Default: `all`. */
  readonly optimization?: 'disabled' | 'basic' | 'extended' | 'layout' | 'all';
  /** Whether freed memory is kept for the next run. Without it, a run returns all memory and takes longer. Default: true. */
  readonly arena?: boolean;
  /** Whether memory is planned once for each shape; useful only where shapes repeat. */
  readonly memoryPattern?: boolean;
}

const CURES: Readonly<Record<Provider, string>> = {
  cuda: 'run the image of target `cuda`, or install an NVIDIA driver with CUDA 12 and run `ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js`; or set inference.provider to auto',
  webgpu:
    'install a Vulkan loader and driver (libvulkan1 and the GPU vendor’s driver), or set inference.provider to auto',
  cpu: 'reinstall onnxruntime-node for this platform',
};

/** A graph of one `Identity` node, `y = x` of shape [1] (opset 13, IR version 8). A session of it makes a provider open its device. */
export const PROBE = Buffer.from(
  'CAg6OwoQCgF4EgF5IghJZGVudGl0eRIFcHJvYmVaDwoBeBIKCggIARIECgIIAWIPCgF5EgoKCAgBEgQKAggBQgIQDQ==',
  'base64',
);

function executionProvider(provider: Provider, device: number): InferenceSession.ExecutionProviderConfig {
  if (provider === 'cuda') return { name: 'cuda', deviceId: device };
  return provider;
}

/** Returns the threads of a session; 0 means the whole CPU budget. */
export const threadsOf = (threads = 0): number => threads || cpuBudget();

/**
 * Returns the options of a session. It has one thread pool (inter-op 1, since the graphs are chains) and does not spin: a spinning thread
 * would take a core from another host or the HTTP process.
 */
export function sessionOptions(settings: SessionSettings = {}): InferenceSession.SessionOptions {
  const { provider = 'cpu', threads = 0, device = 0, optimization = 'all', arena = true, memoryPattern } = settings;
  return {
    executionProviders: [executionProvider(provider, device)],
    intraOpNumThreads: threadsOf(threads),
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: optimization,
    enableCpuMemArena: arena,
    ...(memoryPattern === undefined ? {} : { enableMemPattern: memoryPattern }),
    // Fatal only: the engine throws everything that it logs as an error.
    logSeverityLevel: 4,
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  };
}

/**
 * Opens a session of a model file, its bytes or a model in memory, on the given provider, never on another one.
 * @throws WinnowError `provider_unavailable` with the remedy when the provider does not open its device; the engine's error for a bad graph.
 */
export async function createSession(
  model: string | Uint8Array | Model,
  settings: SessionSettings = {},
): Promise<InferenceSession> {
  const options = sessionOptions(settings);
  try {
    if (typeof model === 'string') return await InferenceSession.create(model, options);
    return await (model instanceof Uint8Array ? InferenceSession.create(model, options) : openModel(model, options));
  } catch (error) {
    const { provider = 'cpu' } = settings;
    if (provider !== 'cpu' && !(await providerWorks(provider, settings.device)))
      throw unavailable(provider, (error as Error).message, settings.device);
    throw error;
  }
}

function unavailable(provider: Provider, reason: string, device = 0): WinnowError {
  const available = `${listSupportedBackends()
    .filter(({ bundled, name }) => bundled && name !== provider)
    .map((b) => b.name)
    .join(', ')} (${choosesDevice(provider) ? `device ${device}: ` : ''}${reason.split('\n')[0]})`;
  return new WinnowError('provider_unavailable', { provider, available, cure: CURES[provider] });
}

async function probe(provider: Provider, device: number): Promise<Error | undefined> {
  try {
    await (await InferenceSession.create(PROBE, sessionOptions({ provider, device, threads: 1 }))).release();
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** Whether a session opens on the provider now. */
export async function providerWorks(provider: Provider, device = 0): Promise<boolean> {
  return (await probe(provider, device)) === undefined;
}

/**
 * Returns the provider for a setting on this machine. `auto` takes the first of `candidates` that opens its device.
 * @throws WinnowError `provider_unavailable` when the named provider does not open its device.
 */
export async function chooseProvider(
  setting: ProviderSetting,
  device = 0,
  facts: GraphicsFacts = graphicsFacts(),
): Promise<Provider> {
  if (setting !== 'auto') {
    const fault = await probe(setting, device);
    if (fault) throw unavailable(setting, fault.message, device);
    return setting;
  }
  for (const provider of candidates(facts)) if (await providerWorks(provider, device)) return provider;
  throw unavailable('cpu', 'no provider opens a session');
}
