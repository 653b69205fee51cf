import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Contestant, Layout } from './contestant.ts';
import { startServer } from './server.ts';
import { type SideSpec, startSides } from './sides.ts';
import type { Work } from './work.ts';

/** What contestants are started with. */
export interface Scene {
  readonly work: Work;
  readonly layout: Layout;
  /** Published version of the model, and the registry folder that it stands in. */
  readonly version: string;
  readonly registry: string;
  /** Folder of what Python wrote for the other engines; `why` says by part what it could not write. */
  readonly plain: string;
  readonly why: Readonly<Record<string, string>>;
  /** Python of the peers; empty without one. */
  readonly python: string;
  readonly load: { readonly passages: number; readonly inFlight: number };
  readonly deadlineMs: number;
}

export interface Row {
  readonly id: string;
  readonly title: string;
  /** What it is given: token ids in batches of so many padded tokens, texts, or requests. */
  readonly given: string;
  /** Row of the same engine and file, whose scores are the same to the bit: they are not measured twice. */
  readonly scoresAs?: string;
  /** Whether it is Winnow: the benchmark fails with it. */
  readonly isOurs?: boolean;
  /** Rejects with the reason where the program is not there: the row shows it. */
  readonly start: (scene: Scene) => Promise<Contestant>;
}

/** Rows by id that others are compared with. */
export const BASELINE = 'ort-fp32-1024';
export const OURS = 'winnow-int8-http';

const NO_PYTHON = 'no Python given (--python)';
const PYTHON_SIDES = join(import.meta.dirname, '../../test/clients/peers');

const nodeSide = (script: string) => (job: string) =>
  [process.execPath, join(import.meta.dirname, script), job] as [string, ...string[]];

/** Returns the command of a Python side. @throws Error without a Python. */
function pythonSide({ python }: Scene, script: string) {
  if (python === '') throw new Error(NO_PYTHON);
  return (job: string) => [python, join(PYTHON_SIDES, script), job] as [string, ...string[]];
}

/** Returns a file of the scene. @throws Error with the reason of the part that should have written it. */
function needed({ plain, why, python }: Scene, part: string, file: string): string {
  const path = join(plain, file);
  if (existsSync(path)) return path;
  throw new Error(why[part] ?? why.onnx ?? (python ? `no ${file}` : NO_PYTHON));
}

const sides = ({ work, layout, deadlineMs }: Scene, spec: SideSpec) => startSides(work, spec, layout, deadlineMs);

/** onnxruntime alone on a file. */
const engine = (scene: Scene, file: string, tokens: number) =>
  sides(scene, { file, tokens, command: nodeSide('onnxruntime-side.ts') });

const ort = (id: string, name: string, part: string, file: string, tokens: number): Row => ({
  id,
  title: `onnxruntime, ${name}`,
  given: `${tokens} tokens`,
  start: async (scene) => engine(scene, needed(scene, part, file), tokens),
});

const openvino = (id: string, name: string, part: string, file: string, precision: string): Row => ({
  id,
  title: `OpenVINO, ${name}`,
  given: '1024 tokens',
  start: async (scene) => {
    const path = needed(scene, part, file);
    const command = pythonSide(scene, 'openvino_engine.py');
    return sides(scene, { file: path, precision, tokens: 1024, command });
  },
});

const torch = (id: string, precision: string): Row => ({
  id,
  title: `sentence-transformers, PyTorch ${precision}`,
  given: 'texts',
  start: async (scene) => {
    needed(scene, 'onnx', 'model.safetensors');
    return sides(scene, { file: scene.plain, precision, command: pythonSide(scene, 'cross_encoder.py') });
  },
});

const transformersJs = (id: string, name: string, part: string, file: string, precision: string): Row => ({
  id,
  title: `transformers.js, ${name}`,
  given: 'texts',
  start: async (scene) => {
    needed(scene, part, file);
    return sides(scene, { file: scene.plain, precision, command: nodeSide('transformers-side.ts') });
  },
});

const winnowEngine = (id: string, name: string, file: string): Row => ({
  id,
  title: `Winnow, ${name}, engine`,
  given: '512 tokens',
  isOurs: true,
  start: (scene) => engine(scene, join(scene.version, 'onnx', file), 512),
});

const winnowServer = (id: string, variant: 'fp32' | 'int8'): Row => ({
  id,
  title: `Winnow, ${variant === 'int8' ? 'int8' : 'float32'}, HTTP`,
  given: 'requests',
  isOurs: true,
  start: ({ work, registry, layout, load, deadlineMs }) =>
    startServer(work, { registry, variant, layout, load, deadlineMs }),
});

/** All rows, in the order of their rounds. */
export const ROWS: readonly Row[] = [
  ort(BASELINE, 'float32', 'onnx', 'onnx/model.onnx', 1024),
  { ...ort('ort-fp32', 'float32', 'onnx', 'onnx/model.onnx', 512), scoresAs: BASELINE },
  ort('ort-int8-1024', 'dynamic int8', 'dynamic', 'onnx/model_quantized.onnx', 1024),
  ort('ort-int8', 'dynamic int8', 'dynamic', 'onnx/model_quantized.onnx', 512),
  openvino('ov-fp32', 'float32', 'onnx', 'onnx/model.onnx', 'f32'),
  openvino('ov-bf16', 'bf16', 'onnx', 'onnx/model.onnx', 'bf16'),
  openvino('ov-int8', 'NNCF int8', 'nncf', 'openvino/int8.xml', 'f32'),
  openvino('ov-int8-bf16', 'NNCF int8 + bf16', 'nncf', 'openvino/int8.xml', 'bf16'),
  torch('st-fp32', 'float32'),
  torch('st-bf16', 'bfloat16'),
  transformersJs('tjs-fp32', 'float32', 'onnx', 'onnx/model.onnx', 'fp32'),
  transformersJs('tjs-q8', 'q8', 'dynamic', 'onnx/model_quantized.onnx', 'q8'),
  { ...winnowEngine('winnow-fp32', 'float32', 'model.onnx'), scoresAs: 'winnow-fp32-http' },
  winnowServer('winnow-fp32-http', 'fp32'),
  winnowEngine('winnow-int8', 'int8', 'model_int8.onnx'),
  winnowServer(OURS, 'int8'),
];
