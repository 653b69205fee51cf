import { numbers, type Tensor } from '../../src/onnx/tensor.ts';
import { TINY, type TinyForm } from './tiny-interaction.ts';

/*
 * Interaction models in plain loops of doubles, by the formulas of the paper: keys and values of the passage are formed, nothing is folded.
 */

type Matrix = readonly (readonly number[])[];

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const plus = (a: Matrix, b: Matrix): Matrix => a.map((row, r) => row.map((x, c) => x + b[r]![c]!));
const erf = (x: number): number => {
  // Series of the error function: exact to rounding for the small numbers of these tests.
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
};
const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));

export class PlainModel {
  readonly #weights: ReadonlyMap<string, Tensor>;
  readonly #form: TinyForm;
  readonly #read = new Map<string, readonly number[]>();

  constructor(weights: ReadonlyMap<string, Tensor>, form: TinyForm) {
    this.#weights = weights;
    this.#form = form;
  }

  #vector(name: string): readonly number[] {
    const known = this.#read.get(name) ?? numbers(this.#weights.get(name)!);
    this.#read.set(name, known);
    return known;
  }

  #rows(name: string): Matrix {
    const values = this.#vector(name);
    const width = this.#weights.get(name)!.dims[1]!;
    return Array.from({ length: values.length / width }, (_, r) => values.slice(r * width, (r + 1) * width));
  }

  #linear(x: Matrix, name: string): Matrix {
    const weight = this.#rows(`${name}.weight`);
    const bias = this.#vector(`${name}.bias`);
    return x.map((row) => weight.map((w, o) => dot(row, w) + bias[o]!));
  }

  #norm(x: Matrix, name: string): Matrix {
    const weight = this.#vector(`${name}.weight`);
    const bias = this.#vector(`${name}.bias`);
    return x.map((row) => {
      const mean = row.reduce((a, b) => a + b) / row.length;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / row.length;
      return row.map((v, i) => ((v - mean) / Math.sqrt(variance + TINY.epsilon)) * weight[i]! + bias[i]!);
    });
  }

  /** Attention of `x` over `over`; `may` says which pairs look at each other. */
  #attend(x: Matrix, over: Matrix, at: (part: string) => string, may: (q: number, k: number) => boolean): Matrix {
    const [q, k, v] = [this.#linear(x, at('query')), this.#linear(over, at('key')), this.#linear(over, at('value'))];
    const size = TINY.hidden / TINY.heads;
    const mixed = q.map((row, r) =>
      Array.from({ length: TINY.heads }, (_, h) => {
        const part = (m: readonly number[]) => m.slice(h * size, (h + 1) * size);
        const logits = k.map((key, c) => (may(r, c) ? dot(part(row), part(key)) / Math.sqrt(size) : -Infinity));
        const peak = Math.max(...logits);
        const raised = logits.map((l) => Math.exp(l - peak));
        const total = raised.reduce((a, b) => a + b);
        return part(row).map((_, i) => raised.reduce((sum, p, c) => sum + (p / total) * part(v[c]!)[i]!, 0));
      }).flat(),
    );
    return this.#linear(mixed, at('output'));
  }

  #self(x: Matrix, at: string, may: (q: number, k: number) => boolean = () => true): Matrix {
    const name = (part: string) => (part === 'output' ? `${at}attention.output.dense` : `${at}attention.self.${part}`);
    return this.#attend(x, x, name, may);
  }

  #forward(x: Matrix, at: string): Matrix {
    const up = this.#linear(x, `${at}intermediate.dense`).map((row) => row.map(gelu));
    return this.#norm(plus(this.#linear(up, `${at}output.dense`), x), `${at}output.LayerNorm`);
  }

  #layer(x: Matrix, at: string): Matrix {
    const middle = this.#norm(plus(x, this.#self(x, at)), `${at}attention.output.LayerNorm`);
    return this.#forward(middle, at);
  }

  #embed(ids: readonly number[]): Matrix {
    const [words, positions] = [
      this.#rows('embeddings.word_embeddings.weight'),
      this.#rows('embeddings.position_embeddings.weight'),
    ];
    const type = this.#rows('embeddings.token_type_embeddings.weight')[0]!;
    return this.#norm(
      ids.map((id, p) => words[id]!.map((x, i) => x + positions[p]![i]! + type[i]!)),
      'embeddings.LayerNorm',
    );
  }

  #encode(ids: readonly number[], layers: number): Matrix {
    let x = this.#embed(ids);
    for (let i = 0; i < layers; i++) x = this.#layer(x, `encoder.layer.${i}.`);
    return x;
  }

  #pool(x: Matrix): readonly number[] {
    if (this.#form.pooling === 'cls') return x[0]!;
    return x[0]!.map((_, i) => x.reduce((sum, row) => sum + row[i]!, 0) / x.length);
  }

  /** States that are kept: int8 with a step a token. */
  kept(ids: readonly number[]): Matrix {
    return this.#encode(ids, this.#form.states).map((row) => {
      const step = Math.fround(Math.max(...row.map(Math.abs)) * Math.fround(1 / 127));
      return row.map((x) => Math.round(x / step) * step);
    });
  }

  vector(ids: readonly number[]): readonly number[] {
    const pooled = this.#pool(this.#encode(ids, TINY.layers));
    return pooled.map((x) => x / Math.hypot(...pooled));
  }

  /** Cosine of query and passage read apart: the bi-encoder. */
  cosine(query: readonly number[], passage: readonly number[]): number {
    return dot(this.vector(query), this.vector(passage));
  }

  score(query: readonly number[], passage: readonly number[]): number {
    return this.#form.form === 'cosine' ? this.#cosineScore(query, passage) : this.#firstScore(query, passage);
  }

  #cross(x: Matrix, kept: Matrix, i: number): Matrix {
    return this.#attend(
      x,
      kept,
      (part) => `interaction.${i}.cross.${part}`,
      () => true,
    );
  }

  #cosineScore(query: readonly number[], passage: readonly number[]): number {
    const kept = this.kept(passage);
    const { top } = this.#form;
    let x = this.#encode(query, TINY.layers - top);
    for (let i = 0; i < top; i++) {
      const at = `encoder.layer.${TINY.layers - top + i}.`;
      const gate = this.#vector(`interaction.${i}.gate`);
      const read = this.#cross(x, kept, i).map((row) => row.map((v, c) => v * gate[c]!));
      x = this.#forward(this.#norm(plus(plus(x, this.#self(x, at)), read), `${at}attention.output.LayerNorm`), at);
    }
    const pooled = this.#pool(x);
    const cos = dot(pooled, this.vector(passage)) / Math.hypot(...pooled);
    const inner = this.#linear([[...x[0]!, ...pooled]], 'interaction.head.0').map((row) => row.map(gelu));
    return this.#vector('interaction.scale')[0]! * cos + this.#linear(inner, 'interaction.head.1')[0]![0]!;
  }

  #firstScore(query: readonly number[], passage: readonly number[]): number {
    const kept = this.kept(passage);
    const { top, states } = this.#form;
    let x = this.#encode(query, states);
    for (let i = 0; i < top; i++) {
      const at = `encoder.layer.${states + i}.`;
      x = this.#norm(plus(x, this.#cross(x, kept, i)), `interaction.${i}.norm`);
      const alone = this.#self(x, at, (q, k) => q === 0 || k !== 0);
      x = this.#forward(this.#norm(plus(x, alone), `${at}attention.output.LayerNorm`), at);
    }
    const pooled = this.#linear([x[0]!], 'interaction.pooler').map((row) => row.map(Math.tanh));
    return this.#linear(pooled, 'interaction.classifier')[0]![0]!;
  }
}
