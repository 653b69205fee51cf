import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { float32 } from '../../src/onnx/tensor.ts';

/** One layer of a BERT with its head, small enough to read. */
export function tinyEncoder(): Model {
  const g = new GraphBuilder();
  const size = 8;
  let seed = 0;
  const weight = (...dims: number[]) =>
    g.initializer(
      `w${++seed}`,
      float32(
        dims,
        Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => 0.4 * Math.sin(7 * i + seed)),
      ),
    );
  const linear = (x: string, out = size) => g.add(g.matmul(x, weight(size, out)), weight(out));
  const norm = (x: string) => g.op('LayerNormalization', [x, weight(size), weight(size)], { axis: -1, epsilon: 1e-6 });
  const heads = (x: string, perm: number[]) => g.transpose(g.reshape(linear(x), [0, 0, 2, 4]), perm);
  g.input('input_ids', 'int64', ['batch', 'sequence']);
  const x = norm(g.gather(weight(20, size), 'input_ids'));
  const p = g.softmax(g.matmul(heads(x, [0, 2, 1, 3]), heads(x, [0, 2, 3, 1])));
  const mixed = g.reshape(g.transpose(g.matmul(p, heads(x, [0, 2, 1, 3])), [0, 2, 1, 3]), [0, 0, size]);
  const middle = norm(g.add(linear(mixed), x));
  const last = norm(g.add(linear(g.op('Gelu', [linear(middle)])), middle));
  const pooled = g.op('Tanh', [linear(g.gather(last, g.scalar(0, 'int64'), 1))]);
  g.output(linear(pooled, 1), 'float32', ['batch', 1], 'logits');
  return modelOf(g.build());
}
