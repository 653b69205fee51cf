import { Tensor } from 'onnxruntime-node';
import type { BareRow } from './engine.ts';

/** Makes the padded tensors of a batch, for the inputs that a model has. */
export function feedOf(rows: readonly BareRow[], names: readonly string[]): Record<string, Tensor> {
  const length = Math.max(...rows.map(({ ids }) => ids.length));
  const value: Readonly<Record<string, (row: BareRow, at: number) => number>> = {
    input_ids: ({ ids }, at) => ids[at] ?? 0,
    attention_mask: ({ ids }, at) => (at < ids.length ? 1 : 0),
    token_type_ids: ({ ids, secondSegment }, at) => (at >= secondSegment && at < ids.length ? 1 : 0),
  };
  const tensor = (name: string) => {
    const data = new BigInt64Array(rows.length * length);
    rows.forEach((row, r) => {
      for (let at = 0; at < length; at++) data[r * length + at] = BigInt(value[name]!(row, at));
    });
    return new Tensor('int64', data, [rows.length, length]);
  };
  return Object.fromEntries(names.filter((name) => name in value).map((name) => [name, tensor(name)]));
}
