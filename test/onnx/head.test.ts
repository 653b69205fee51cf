import { describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { attachHead, freshHead, type Head } from '../../src/onnx/rewrites/head.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../src/onnx/tensor.ts';

/** States are the rows of a table of width 3; the ids are an output too, as in some exports. */
function encoder(outputs: readonly string[] = ['last_hidden_state'], mask = true, types = false) {
  const g = new GraphBuilder();
  g.input('input_ids', 'int64', ['batch', 'sequence']);
  if (mask) g.input('attention_mask', 'int64', ['batch', 'sequence']);
  if (types) g.input('token_type_ids', 'int64', ['batch', 'sequence']);
  const states = g.gather(g.initializer('table', float32([3, 3], [1, 2, 3, -1, 0, 1, 4, 4, 4])), 'input_ids');
  g.output(g.op('Identity', ['input_ids']), 'int64', ['batch', 'sequence'], 'echo');
  for (const name of outputs) g.output(states, 'float32', ['batch', 'sequence', 3], name);
  return modelOf(g.build(), 17);
}

const feeds = {
  input_ids: tensor('int64', [2, 3], [0, 1, 2, 1, 2, 2]),
  attention_mask: tensor('int64', [2, 3], [1, 1, 0, 1, 1, 1]),
};
const out = { weight: float32([1, 3], [1, 10, 100]), bias: float32([1], [0.5]) };
const logits = async (head: Head, model = encoder()) =>
  numbers((await runOnce(attachHead(model, head), feeds)).logits!);

describe('attachHead', () => {
  it('takes the first state, or the mean of the unmasked ones', async () => {
    expect(await logits({ pooling: 'cls', out })).toEqual([321.5, 99.5]);
    expect(await logits({ pooling: 'mean', out })).toEqual(
      [0 + 10 + 200 + 0.5, 7 / 3 + 10 * (8 / 3) + 100 * 3 + 0.5].map(Math.fround),
    );
  });

  it('compares the mean states of the two texts', async () => {
    const typed = { ...feeds, token_type_ids: tensor('int64', [2, 3], [0, 1, 1, 0, 0, 1]) };
    const pair = async (head: Head) =>
      numbers((await runOnce(attachHead(encoder(undefined, true, true), head), typed)).logits!);
    const unit = (v: readonly number[]) => v.map((x) => x / Math.hypot(...v));
    const products = (q: readonly number[], p: readonly number[]) => unit(q).map((x, i) => x * unit(p)[i]!);
    const first = products([1, 2, 3], [-1, 0, 1]);
    const second = products([3, 4, 5], [4, 4, 4]);
    const weighted = (f: readonly number[]) => f[0]! + 10 * f[1]! + 100 * f[2]! + 0.5;
    const got = await pair({ pooling: 'pair', out });
    [first, second].forEach((f, i) => {
      expect(got[i]).toBeCloseTo(weighted(f), 3);
    });
    const cosine = (f: readonly number[]) => 10 * (f[0]! + f[1]! + f[2]!) - 5;
    const fresh = await pair(freshHead({ pooling: 'pair', hidden: 3, seed: 1 }));
    [first, second].forEach((f, i) => {
      expect(fresh[i]).toBeCloseTo(cosine(f), 4);
    });
    const steep = await pair(freshHead({ pooling: 'pair', hidden: 3, seed: 1, scale: 60 }));
    [first, second].forEach((f, i) => {
      expect(steep[i]).toBeCloseTo(6 * cosine(f), 3);
    });
    const dense = { weight: float32([2, 3], [1, 0, 0, 0, 1, 0]) };
    const wide = { weight: float32([1, 5], [1, 10, 100, 7, -2]), bias: float32([1], [0.5]) };
    expect((await pair({ pooling: 'pair', dense, out: wide }))[0]).toBeCloseTo(weighted(first) + 7 * 1 - 2 * 2, 3);
  });

  it('adds the cosine of each query token to the nearest of the passage', async () => {
    const typed = { ...feeds, token_type_ids: tensor('int64', [2, 3], [0, 1, 1, 0, 0, 1]) };
    const model = (head: Head) => attachHead(encoder(undefined, true, true), head);
    const cosine = (a: readonly number[], b: readonly number[]) =>
      a.reduce((sum, x, i) => sum + x * b[i]!, 0) / (Math.hypot(...a) * Math.hypot(...b));
    const [one, two, three] = [
      [1, 2, 3],
      [-1, 0, 1],
      [4, 4, 4],
    ] as const;
    // In the first row the last token is masked; in the second each of two query tokens has one passage token.
    const nearest = [cosine(one, two), (cosine(two, three) + cosine(three, three)) / 2];
    const means = [cosine(one, two), cosine([3, 4, 5], three)];
    const fresh = freshHead({ pooling: 'pair', hidden: 3, seed: 1, nearest: 0.25 });
    const got = numbers((await runOnce(model(fresh), typed)).logits!);
    nearest.forEach((n, i) => {
      expect(got[i]).toBeCloseTo(10 * (0.75 * means[i]! + 0.25 * n) - 5, 4);
    });
    const swapped = { ...typed, token_type_ids: tensor('int64', [2, 3], [0, 0, 0, 0, 1, 1]) };
    const alone = freshHead({ pooling: 'pair', hidden: 3, seed: 1, nearest: 1 });
    expect(numbers((await runOnce(model(alone), swapped)).logits!)[1]).toBeCloseTo(10 * cosine(two, three) - 5, 4);
    expect(() => model({ ...alone, out })).toThrow('expected a weight [·, 4], got [1,3]');
  });

  it('compares the texts of an encoder that has no token types', async () => {
    const typed = { ...feeds, token_type_ids: tensor('int64', [2, 3], [0, 1, 1, 0, 0, 1]) };
    const scores = async (types: boolean) =>
      numbers((await runOnce(attachHead(encoder(undefined, true, types), { pooling: 'pair', out }), typed)).logits!);
    expect(await scores(false)).toEqual(await scores(true));
  });

  it('puts dense layer, activation and norm in between', async () => {
    const dense = { weight: float32([2, 3], [0.1, 0, 0, 0, 0.2, 0]), bias: float32([2], [0, 1]) };
    const wide = { weight: float32([1, 2], [1, 1]) };
    const [x, y] = [0.1, 1.4];
    expect((await logits({ pooling: 'cls', dense, activation: 'tanh', out: wide }))[0]).toBeCloseTo(
      Math.tanh(x) + Math.tanh(y),
      5,
    );
    expect((await logits({ pooling: 'cls', dense, activation: 'relu', out: wide }))[1]).toBeCloseTo(1, 5);
    expect((await logits({ pooling: 'cls', dense, out: wide }))[0]).toBeCloseTo(x + y, 5);
    const norm = { weight: float32([2], [2, 3]), epsilon: 1e-12 };
    expect((await logits({ pooling: 'cls', dense, norm, out: wide }))[0]).toBeCloseTo(-2 + 3, 4);
  });

  it('gives the logits alone, with as many columns as labels', async () => {
    const model = attachHead(encoder(), freshHead({ pooling: 'cls', hidden: 3, dense: 'tanh', labels: 4, seed: 1 }));
    expect(model.graph.outputs).toEqual([{ name: 'logits', dtype: 'float32', dims: ['batch', 4] }]);
    expect((await runOnce(model, feeds)).logits!.dims).toEqual([2, 4]);
    expect([...model.graph.initializers.keys()]).toEqual(
      expect.arrayContaining(['head.dense.weight', 'head.dense.bias', 'head.out.weight', 'head.out.bias']),
    );
  });

  it('starts a fresh head from its seed', () => {
    const weight = (seed: number) => numbers(freshHead({ pooling: 'cls', hidden: 100, seed }).out.weight);
    expect(weight(1)).toEqual(weight(1));
    expect(weight(1)).not.toEqual(weight(2));
    const deviation = Math.sqrt(weight(1).reduce((sum, w) => sum + w * w, 0) / 100);
    expect(deviation).toBeGreaterThan(0.015);
    expect(deviation).toBeLessThan(0.025);
  });

  it('finds states of any name, if they are the only ones', async () => {
    expect(await logits({ pooling: 'cls', out }, encoder(['onnx::Shape_422']))).toEqual([321.5, 99.5]);
    const two = encoder(['a', 'b']);
    expect(() => attachHead(two, { pooling: 'cls', out })).toThrow(
      'expected one float32 output of rank 3 (or the name of the states), got 2 of them: a, b',
    );
    expect(attachHead(two, { pooling: 'cls', out }, { states: 'b' }).graph.outputs[0]!.name).toBe('logits');
    expect(() => attachHead(two, { pooling: 'cls', out }, { states: 'c' })).toThrow(
      'expected an output c, got outputs echo, a, b',
    );
  });

  it('refuses sizes that do not fit, and mean pooling without a mask', () => {
    const narrow = { weight: float32([1, 2], [1, 1]) };
    expect(() => attachHead(encoder(), { pooling: 'cls', out: narrow })).toThrow('expected a weight [·, 3], got [1,2]');
    const dense = { weight: float32([4, 3], new Array(12).fill(0)) };
    expect(() => attachHead(encoder(), { pooling: 'cls', dense, out: narrow })).toThrow(
      'expected an output weight [·, 4], got [1,2]',
    );
    expect(() => attachHead(encoder(undefined, false), { pooling: 'mean', out })).toThrow(
      'expected an input attention_mask for mean pooling, got input_ids',
    );
    expect(() =>
      attachHead(encoder(undefined, true, true), { pooling: 'pair', dense: { weight: out.weight }, out }),
    ).toThrow('expected an output weight [·, 4], got [1,3]');
  });
});
