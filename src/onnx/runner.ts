import { WinnowError } from '../errors.ts';
import type { DataType } from './dtypes.ts';
import { InferenceSession, Tensor as OrtTensor } from './engine.ts';
import type { Model } from './graph.ts';
import { openModel } from './open-model.ts';
import { type Tensor, tensorOf, view } from './tensor.ts';

/*
 * Runs graphs for this room and for autodiff: to probe shapes, fold constants and check gradients. Serving and training open their sessions
 * in `inference/providers`.
 */

export type Feeds = Readonly<Record<string, Tensor>>;
export type Results = Readonly<Record<string, Tensor>>;

export interface RunOptions {
  readonly threads?: number;
  readonly level?: 'disabled' | 'basic' | 'extended' | 'all';
  /** Whether weights are copied into the order that products read fastest; true by default. */
  readonly packs?: boolean;
}

/** Wraps a tensor for the engine without a copy. */
export function toOrt(t: Tensor): OrtTensor {
  if (t.dtype === 'float16') return halfToOrt(t);
  return new OrtTensor(t.dtype as 'float32', view(t) as Float32Array, t.dims as number[]);
}

/** The binding reads float16 from a Uint16Array, which the class of tensors replaces where there is a Float16Array. */
function halfToOrt({ bytes, dims }: Tensor): OrtTensor {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : new Uint8Array(bytes);
  const bits = new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 2);
  return Object.defineProperty(new OrtTensor('float16', bits, dims as number[]), 'data', { value: bits });
}

export const fromOrt = (t: OrtTensor): Tensor => tensorOf(t.type as DataType, t.dims, t.data as Float32Array);

/** An open session that takes and gives tensors of this room. */
export interface Runner {
  readonly outputs: readonly string[];
  run(feeds: Feeds, outputs?: readonly string[]): Promise<Results>;
  close(): Promise<void>;
}

/** Opens a session of a model in memory, its bytes or its file. @throws WinnowError `invalid_graph` with the engine's reason, which names the node. */
export async function openRunner(model: Model | Uint8Array | string, options: RunOptions = {}): Promise<Runner> {
  const session = await load(model, {
    intraOpNumThreads: options.threads ?? 1,
    graphOptimizationLevel: options.level ?? 'disabled',
    // Fatal only: what the engine logs as an error it also throws.
    logSeverityLevel: 4,
    ...(options.packs === false && { extra: { session: { disable_prepacking: '1' } } }),
  }).catch((error: unknown) => {
    throw error instanceof WinnowError ? error : engineFault('loading the graph', error);
  });
  return {
    outputs: session.outputNames,
    async run(feeds, outputs) {
      const known = Object.entries(feeds).filter(([name]) => session.inputNames.includes(name));
      const ort = Object.fromEntries(known.map(([name, t]) => [name, toOrt(t)]));
      const found = await session.run(ort, outputs ?? session.outputNames).catch((error: unknown) => {
        throw engineFault('running the graph', error);
      });
      return Object.fromEntries(Object.entries(found).map(([name, t]) => [name, fromOrt(t as OrtTensor)]));
    },
    close: () => session.release(),
  };
}

function load(model: Model | Uint8Array | string, options: InferenceSession.SessionOptions): Promise<InferenceSession> {
  if (typeof model === 'string') return InferenceSession.create(model, options);
  return model instanceof Uint8Array ? InferenceSession.create(model, options) : openModel(model, options);
}

function engineFault(where: string, error: unknown): WinnowError {
  return new WinnowError(
    'invalid_graph',
    { where, expected: 'a graph the engine accepts', got: (error as Error).message },
    { cause: error },
  );
}

/** Runs a model, or its file, once. */
export async function runOnce(model: Model | string, feeds: Feeds, options: RunOptions = {}): Promise<Results> {
  const runner = await openRunner(model, options);
  try {
    return await runner.run(feeds);
  } finally {
    await runner.close();
  }
}
