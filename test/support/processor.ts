import { GraphBuilder, MICROSOFT, modelOf } from '../../src/onnx/builder.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../src/onnx/tensor.ts';

/** Multiplies u8 rows and an s8 matrix by the engine, as int8 models do; scales are 1, zero points 0. */
export async function integerProducts(
  rows: readonly (readonly number[])[],
  weights: readonly (readonly number[])[],
): Promise<number[]> {
  const [inner, columns] = [weights.length, weights[0]!.length];
  const g = new GraphBuilder();
  g.input('x', 'uint8', ['rows', inner]);
  const matrix = g.initializer('weights', tensor('int8', [inner, columns], weights.flat()));
  const one = g.scalar(1);
  const scales = g.constant(float32([columns], new Array(columns).fill(1)));
  const product = g.op('MatMulIntegerToFloat', ['x', matrix, one, scales], {}, { domain: MICROSOFT });
  g.output(product, 'float32', ['rows', columns], 'y');
  const x = tensor('uint8', [rows.length, inner], rows.flat());
  return numbers((await runOnce(modelOf(g.build(), 17), { x })).y!);
}

/** Whether this processor saturates sums of two neighboring products at 16 bits (AVX2, and AVX-512 without VNNI). */
export const SATURATES: boolean =
  (
    await integerProducts(
      [new Array<number>(64).fill(255)],
      Array.from({ length: 64 }, () => new Array(32).fill(127)),
    )
  )[0] !==
  64 * 255 * 127;
