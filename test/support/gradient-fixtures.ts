import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { differentiate } from '../../src/autodiff/differentiate.ts';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import type { Model } from '../../src/onnx/graph.ts';
import type { Prepared } from '../../src/onnx/prepare.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { type Feeds, openRunner, type Results } from '../../src/onnx/runner.ts';
import { readSafetensors } from '../../src/onnx/safetensors.ts';
import { float32, numbers, type Tensor, tensor } from '../../src/onnx/tensor.ts';
import { FIXTURES } from './training-fixtures.ts';

/** One parameter's gradient in golden.json, in PyTorch's layout. */
export interface ParameterGradient {
  readonly norm: number;
  readonly first8: readonly number[];
  readonly peak: readonly [number, number];
}

export interface ObjectiveNumbers {
  readonly loss: number;
  readonly dlogits: readonly number[];
  /** L2 over all parameters; computed from the parameters where it is absent. */
  readonly gradient_norm?: number;
  readonly parameters: Readonly<Record<string, ParameterGradient>>;
}

export const globalNorm = ({ gradient_norm, parameters }: ObjectiveNumbers): number =>
  gradient_norm ?? Math.hypot(...Object.values(parameters).map((p) => p.norm));

export interface Placed {
  readonly tensor: string;
  readonly transposed: boolean;
}

export type Mapping = ReadonlyMap<string, Placed>;

export const fixtureJson = <T>(...parts: readonly string[]): T =>
  JSON.parse(readFileSync(join(FIXTURES, ...parts), 'utf8')) as T;

export function mappingOf(family: string, file: string): Mapping {
  const all = fixtureJson<Record<string, { parameters: Record<string, Placed> }>>(family, 'mapping.json');
  return new Map(Object.entries(all[file]?.parameters ?? {}));
}

/** Folders that hold exports and golden numbers. */
export function folders(wanted: (file: string) => boolean): readonly { family: string; files: readonly string[] }[] {
  if (!existsSync(FIXTURES)) return [];
  return readdirSync(FIXTURES, { withFileTypes: true })
    .filter((e) => e.isDirectory() && existsSync(join(FIXTURES, e.name, 'golden.json')))
    .map((e) => ({
      family: e.name,
      files: readdirSync(join(FIXTURES, e.name)).filter((f) => f.endsWith('.onnx') && wanted(f)),
    }))
    .filter(({ files }) => files.length > 0);
}

export const inputFeeds = (inputs: Readonly<Record<string, readonly (readonly number[])[]>>): Feeds =>
  Object.fromEntries(
    Object.entries(inputs).map(([name, rows]) => [name, tensor('int64', [rows.length, rows[0]!.length], rows.flat())]),
  );

export interface GradientRunner {
  /** Gradients by initializer, and the logits. */
  run(
    feeds: Feeds,
    dlogits: readonly number[],
  ): Promise<{ gradients: ReadonlyMap<string, Tensor>; logits: readonly number[] }>;
  close(): Promise<void>;
}

/** Computes the vector–Jacobian product of the logits for every weight, optimized and on two threads as in training. */
export async function gradientRunner({ model, weights }: Prepared): Promise<GradientRunner> {
  const output = model.graph.outputs[0]!.name;
  const forward = GraphBuilder.from(model.graph);
  forward.input('dlogits', 'float32', ['batch', 1]);
  const shapes = await probeShapes(model);
  const wrt = weights.map((w) => w.tensor);
  const { graph, gradients } = differentiate(forward.build(), { of: output, upstream: 'dlogits', wrt, shapes });
  const g = GraphBuilder.from(graph);
  for (const value of gradients.values()) g.output(value);
  const runner = await openRunner({ ...model, graph: g.build() } as Model, { level: 'all', threads: 2 });
  return {
    async run(feeds, dlogits) {
      const results: Results = await runner.run({ ...feeds, dlogits: float32([dlogits.length, 1], dlogits) });
      const found = new Map([...gradients].map(([weight, value]) => [weight, results[value]!]));
      return { gradients: found, logits: numbers(results[output]!) };
    },
    close: () => runner.close(),
  };
}

/** Returns a gradient in PyTorch's layout; the file may hold the weight's transpose. */
export function inTorchLayout(gradient: Tensor, transposed: boolean): number[] {
  const values = numbers(gradient);
  if (!transposed) return values;
  const [rows, columns] = gradient.dims as [number, number];
  return Array.from({ length: values.length }, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}

/** |g − r| over the allowed 1e-4·|r| + 1e-6·|all gradients|, L2 norms. */
export function distanceRatio(got: readonly number[], expected: ArrayLike<number>, globalNorm: number): number {
  let difference = 0;
  let reference = 0;
  for (let i = 0; i < got.length; i++) {
    difference += (got[i]! - expected[i]!) ** 2;
    reference += expected[i]! ** 2;
  }
  return Math.sqrt(difference) / (1e-4 * Math.sqrt(reference) + 1e-6 * globalNorm);
}

/** Returns the parameters whose gradient differs from golden.json in norm, first eight values or peak. */
export function misfits(gradients: ReadonlyMap<string, Tensor>, mapping: Mapping, golden: ObjectiveNumbers): string[] {
  const all = globalNorm(golden);
  const near = (got: number, expected: number, norm: number): boolean =>
    Math.abs(got - expected) <= 1e-4 * norm + 1e-6 * all;
  return [...mapping].flatMap(([parameter, { tensor: name, transposed }]) => {
    const expected = golden.parameters[parameter];
    const gradient = gradients.get(name);
    if (!expected) return [];
    if (!gradient) return [`${parameter}: no gradient`];
    const got = inTorchLayout(gradient, transposed);
    const [at, peak] = expected.peak;
    const norm = Math.sqrt(got.reduce((sum, x) => sum + x * x, 0));
    const fits =
      near(norm, expected.norm, expected.norm) &&
      expected.first8.every((x, i) => near(got[i]!, x, expected.norm)) &&
      near(got[at]!, peak, expected.norm);
    return fits ? [] : [`${parameter}: norm ${norm}, expected ${expected.norm}`];
  });
}

/** `<objective>/<parameter>` → float64 values. */
export async function wholeGradients(family: string): Promise<ReadonlyMap<string, Tensor>> {
  const file = join(FIXTURES, family, 'gradients.safetensors');
  return existsSync(file) ? (await readSafetensors(file)).tensors : new Map();
}

export const norm = (gradients: Iterable<Tensor>): number =>
  Math.sqrt([...gradients].reduce((sum, g) => sum + numbers(g).reduce((s, x) => s + x * x, 0), 0));
