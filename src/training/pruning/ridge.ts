import { GraphBuilder, modelOf } from '../../onnx/builder.ts';
import { runOnce } from '../../onnx/runner.ts';
import { float32, float32View } from '../../onnx/tensor.ts';

/** Least squares with a ridge: the sums that a solution needs, of any part of the rows. */
export interface Sums {
  /** XᵀX, [width, width]. */
  readonly gram: Float64Array;
  /** Xᵀy, [width]. */
  readonly moment: Float64Array;
}

/** Returns XᵀX and Xᵀy of rows [n, width]. The engine multiplies. */
export async function sumsOf(features: Float32Array, targets: Float32Array, width: number): Promise<Sums> {
  const g = new GraphBuilder('sums');
  const x = g.input('x', 'float32', [null, width]);
  const y = g.input('y', 'float32', [null, 1]);
  const across = g.transpose(x, [1, 0]);
  const gram = g.output(g.matmul(across, x), 'float32', [width, width], 'gram');
  const moment = g.output(g.matmul(across, y), 'float32', [width, 1], 'moment');
  const n = targets.length;
  const found = await runOnce(modelOf(g.build()), { x: float32([n, width], features), y: float32([n, 1], targets) });
  return { gram: Float64Array.from(float32View(found[gram]!)), moment: Float64Array.from(float32View(found[moment]!)) };
}

/** Returns the sums of both parts together. */
export const addSums = (a: Sums, b: Sums): Sums => ({
  gram: a.gram.map((value, i) => value + b.gram[i]!),
  moment: a.moment.map((value, i) => value + b.moment[i]!),
});

/** Factors a positive definite matrix in place into L of LLᵀ (Cholesky). */
function factor(a: Float64Array, n: number): void {
  for (let j = 0; j < n; j++) {
    const row = a.subarray(j * n, j * n + j);
    for (let i = j; i < n; i++) {
      const at = i * n;
      let sum = a[at + j]!;
      for (let k = 0; k < j; k++) sum -= a[at + k]! * row[k]!;
      a[at + j] = i === j ? Math.sqrt(Math.max(sum, Number.MIN_VALUE)) : sum / a[j * n + j]!;
    }
  }
}

/**
 * Returns the weights w that minimize |Xw − y|² + λ Σ sᵢ wᵢ², where sᵢ is the sum of squares of feature i: as if features had one scale.
 * Features that are 0 in every row get weight 0.
 */
export function solveRidge({ gram, moment }: Sums, lambda: number): Float64Array {
  const n = moment.length;
  const a = gram.slice();
  const used = moment.map((_, i) => +(gram[i * n + i]! > 0));
  for (let i = 0; i < n; i++) a[i * n + i] = used[i] ? gram[i * n + i]! * (1 + lambda) : 1;
  factor(a, n);
  const w = moment.slice();
  for (let i = 0; i < n; i++) {
    let sum = w[i]!;
    for (let k = 0; k < i; k++) sum -= a[i * n + k]! * w[k]!;
    w[i] = sum / a[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = w[i]!;
    for (let k = i + 1; k < n; k++) sum -= a[k * n + i]! * w[k]!;
    w[i] = sum / a[i * n + i]!;
  }
  return w.map((value, i) => value * used[i]!);
}
