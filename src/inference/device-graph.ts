import type { InferenceSession } from '../onnx/engine.ts';
import type { Model } from '../onnx/graph.ts';
import { INSIDE_LIMIT, initializerBytes, readModel } from '../onnx/model-file.ts';
import { prepare } from '../onnx/prepare.ts';
import { encodeModel } from '../onnx/protobuf-write.ts';
import { fuseAttention, paddedFeeds, probeLengths } from '../onnx/rewrites/fused-attention.ts';
import { fuseSkipNorm } from '../onnx/rewrites/skip-norm.ts';
import { withoutAnd } from '../onnx/rewrites/webgpu.ts';
import { type Feeds, toOrt } from '../onnx/runner.ts';
import type { LoadSpec } from './inference-types.ts';
import { createSession, type SessionSettings } from './providers.ts';
import { toFloat32 } from './reduction.ts';

/*
 * The graph that a device runs. A card gets attention as one node; WebGPU gets no operator that it computes wrongly. The processor runs files as they are.
 */

type Open = (model: string | Uint8Array, settings: SessionSettings) => Promise<InferenceSession>;
type Served = Pick<LoadSpec, 'file' | 'maxLength'>;

/** Largest difference of a score, relative to those above 1, between both forms of attention: float16 rounds, TF32 has ten bits. */
const TOLERANCE = 0.02;
/** Tokens of the rows on which both are compared, at most. */
const LONGEST = 2048;

/**
 * Opens the session that serves a file. On `cuda`, attention is fused where the mask is padding and the scores of made-up rows stay what they are on the
 * device; otherwise the file runs as it is.
 * @param tell gets a line where a graph could not be rewritten.
 */
export async function openServed(
  spec: Served,
  settings: SessionSettings,
  tell: (line: string) => void = (line) => process.stderr.write(`${line}\n`),
  open: Open = createSession,
): Promise<InferenceSession> {
  const { provider = 'cpu' } = settings;
  if (provider === 'webgpu') return openForWebGpu(spec, settings, open);
  const plain = await open(spec.file, settings);
  if (provider === 'cpu') return plain;
  try {
    return (await fusedSession(spec, settings, plain, open)) ?? plain;
  } catch (error) {
    tell(`${spec.file}: attention stays as it is: ${(error as Error).message.split('\n')[0]}`);
    return plain;
  }
}

async function openForWebGpu({ file }: Served, settings: SessionSettings, open: Open): Promise<InferenceSession> {
  const model = withoutAnd(await readModel(file));
  return model && initializerBytes(model) <= INSIDE_LIMIT ? open(encodeModel(model), settings) : open(file, settings);
}

/** Returns a model with fused attention; undefined where nothing is to be fused. */
async function fusedFor(model: Model, maxLength: number): Promise<Model | undefined> {
  const output = model.graph.outputs.find(({ name }) => name === 'logits') ?? model.graph.outputs[0]!;
  const { model: canonical } = await prepare(model, { output: output.name });
  const { model: fused, fused: count } = await fuseAttention(canonical, maxLength);
  return count === 0 ? undefined : fuseSkipNorm(fused);
}

/** Opens the fused form and ends the plain one. @returns undefined where there is none. @throws Error where scores differ. */
async function fusedSession(
  { file, maxLength }: Served,
  settings: SessionSettings,
  plain: InferenceSession,
  open: Open,
): Promise<InferenceSession | undefined> {
  const model = await readModel(file);
  if (initializerBytes(model) > INSIDE_LIMIT) return undefined;
  const fused = await fusedFor(model, maxLength);
  if (!fused) return undefined;
  const session = await open(encodeModel(fused), settings);
  try {
    await requireSame(plain, session, paddedFeeds(model.graph.inputs, probeLengths(Math.min(maxLength, LONGEST))));
  } catch (error) {
    await session.release();
    throw error;
  }
  await plain.release();
  return session;
}

async function requireSame(plain: InferenceSession, fused: InferenceSession, feeds: Feeds): Promise<void> {
  const [expected, got] = [await scoresOf(plain, feeds), await scoresOf(fused, feeds)];
  const apart = Math.max(...expected.map((x, i) => Math.abs(x - got[i]!) / Math.max(1, Math.abs(x))));
  if (!(apart <= TOLERANCE)) throw new Error(`expected scores within ${TOLERANCE} of the plain graph's, got ${apart}`);
}

async function scoresOf(session: InferenceSession, feeds: Feeds): Promise<Float32Array> {
  const given = Object.entries(feeds).map(([name, value]) => [name, toOrt(value)] as const);
  const name = session.outputNames.find((output) => output === 'logits') ?? session.outputNames[0]!;
  const logits = (await session.run(Object.fromEntries(given), [name]))[name]!;
  return toFloat32(logits.type, logits.data);
}
