import { WinnowError } from '../errors.ts';
import { InferenceSession, listSupportedBackends } from '../onnx/engine.ts';
import { candidates, type GraphicsFacts, graphicsFacts } from './adapters.ts';
import { cpuBudget } from './cgroup.ts';
import type { Provider, ProviderSetting } from './inference-types.ts';

export interface SessionSettings {
  readonly provider?: Provider;
  /** Threads inside an operator, the caller's included; 0 or absent takes the whole CPU budget. */
  readonly threads?: number;
  /** GPU index. */
  readonly device?: number;
  /** How far the graph is rewritten; training asks for less where fusions are in its way. */
  readonly optimization?: 'disabled' | 'basic' | 'extended' | 'layout' | 'all';
  /** Keeps freed memory for the next run. Off, a run gives everything back and costs more. */
  readonly arena?: boolean;
  /** Plans memory once for every shape seen; of use only where shapes repeat. */
  readonly memoryPattern?: boolean;
}

const CURES: Readonly<Record<Provider, string>> = {
  cuda: 'run the image of target `cuda`, or install an NVIDIA driver with CUDA 12 and run `ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install.js`; or set inference.provider to auto',
  webgpu:
    'install a Vulkan loader and driver (libvulkan1 and the GPU vendor’s driver), or set inference.provider to auto',
  cpu: 'reinstall onnxruntime-node for this platform',
};

/** One `Identity` node, `y = x` of shape [1]: opset 13, IR version 8. Creating it makes a provider open its device. */
export const PROBE = Buffer.from(
  'CAg6OwoQCgF4EgF5IghJZGVudGl0eRIFcHJvYmVaDwoBeBIKCggIARIECgIIAWIPCgF5EgoKCAgBEgQKAggBQgIQDQ==',
  'base64',
);

function executionProvider(provider: Provider, device: number): InferenceSession.ExecutionProviderConfig {
  if (provider === 'cuda') return { name: 'cuda', deviceId: device };
  return provider;
}

/** Threads of a session: 0 is all that the process may use. */
export const threadsOf = (threads = 0): number => threads || cpuBudget();

/**
 * Options of a session. One thread pool (inter-op 1, since the graphs are chains), no spinning: a waiting thread would burn the core the
 * neighboring host or the HTTP process needs.
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
    // Fatal only: what the engine logs as an error it also throws.
    logSeverityLevel: 4,
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  };
}

/**
 * Opens a session on exactly the provider asked for.
 * @throws WinnowError `provider_unavailable` with the cure when the provider cannot be had; whatever the runtime says of a bad graph.
 */
export async function createSession(
  model: string | Uint8Array,
  settings: SessionSettings = {},
): Promise<InferenceSession> {
  const options = sessionOptions(settings);
  try {
    return await (typeof model === 'string'
      ? InferenceSession.create(model, options)
      : InferenceSession.create(model, options));
  } catch (error) {
    const { provider = 'cpu' } = settings;
    if (provider !== 'cpu' && !(await providerWorks(provider, settings.device)))
      throw unavailable(provider, (error as Error).message);
    throw error;
  }
}

function unavailable(provider: Provider, reason: string): WinnowError {
  const available = `${listSupportedBackends()
    .filter(({ bundled, name }) => bundled && name !== provider)
    .map((b) => b.name)
    .join(', ')} (${reason.split('\n')[0]})`;
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

/** Whether a session can be opened on the provider here and now. */
export async function providerWorks(provider: Provider, device = 0): Promise<boolean> {
  return (await probe(provider, device)) === undefined;
}

/**
 * The provider that a setting comes to on this machine. `auto` takes the first of `candidates` that opens its device.
 * @throws WinnowError `provider_unavailable` when a provider asked for by name cannot be had.
 */
export async function chooseProvider(
  setting: ProviderSetting,
  device = 0,
  facts: GraphicsFacts = graphicsFacts(),
): Promise<Provider> {
  if (setting !== 'auto') {
    const fault = await probe(setting, device);
    if (fault) throw unavailable(setting, fault.message);
    return setting;
  }
  for (const provider of candidates(facts)) if (await providerWorks(provider, device)) return provider;
  throw unavailable('cpu', 'no provider opens a session');
}
