import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type InteractionModels, interactionModels } from '../../src/onnx/interaction/write-interaction.ts';
import { openRunner, type Runner } from '../../src/onnx/runner.ts';
import { castTensor, float32, numbers, type Tensor, tensor } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';
import { PlainModel } from '../support/plain-interaction.ts';
import { close, type TinyForm, tinyWeights, writeTinyInteraction } from '../support/tiny-interaction.ts';

let root = '';
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'interaction-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const random = createRandom(5);
const text = (length: number): readonly number[] => [
  2,
  ...Array.from({ length: length - 2 }, () => 5 + random.below(40)),
  3,
];
const QUERIES = [text(5), text(3), text(9)];
const PASSAGES = [3, 12, 40, 7, 21, 2, 33, 64].map(text);

interface Pair {
  readonly query: readonly number[];
  readonly passage: readonly number[];
}

/** What is kept of a passage, without padding. */
interface Kept {
  readonly states: Tensor;
  readonly scales: readonly number[] | undefined;
  readonly vector: readonly number[] | undefined;
}

const ids = (rows: readonly (readonly number[])[]) => {
  const width = Math.max(...rows.map((row) => row.length));
  const padded = (value: (row: readonly number[], c: number) => number) =>
    tensor(
      'int64',
      [rows.length, width],
      rows.flatMap((row) => Array.from({ length: width }, (_, c) => value(row, c))),
    );
  return {
    input_ids: padded((row, c) => row[c] ?? 0),
    attention_mask: padded((row, c) => +(c < row.length)),
    token_type_ids: padded(() => 0),
  };
};

class Both {
  readonly #passage: Runner;
  readonly #top: Runner;

  constructor(passage: Runner, top: Runner) {
    this.#passage = passage;
    this.#top = top;
  }

  static async open({ passage, top }: InteractionModels): Promise<Both> {
    return new Both(await openRunner(passage, { level: 'all' }), await openRunner(top, { level: 'all' }));
  }

  async keep(passages: readonly (readonly number[])[]): Promise<readonly Kept[]> {
    const { states, scales, vector } = await this.#passage.run(ids(passages));
    const [, width, hidden] = states!.dims as [number, number, number];
    const all = numbers(states!);
    return passages.map(({ length }, row) => {
      const from = row * width * hidden;
      return {
        states: tensor(states!.dtype, [length, hidden], all.slice(from, from + length * hidden)),
        scales: scales && numbers(scales).slice(row * width, row * width + length),
        vector: vector && numbers(vector).slice(row * hidden, (row + 1) * hidden),
      };
    });
  }

  async score(pairs: readonly Pair[], kept: readonly Kept[]): Promise<readonly number[]> {
    const queries = [...new Set(pairs.map(({ query }) => query))];
    const width = Math.max(...kept.map(({ states }) => states.dims[0]!));
    const pad = (values: readonly number[], size: number) => [
      ...values,
      ...new Array<number>(size - values.length).fill(0),
    ];
    const { dtype, dims } = kept[0]!.states;
    const hidden = dims[1]!;
    const states = kept.flatMap((k) => pad(numbers(k.states), width * hidden));
    const feeds = {
      ...ids(queries),
      query_of: tensor(
        'int64',
        [pairs.length],
        pairs.map(({ query }) => queries.indexOf(query)),
      ),
      states: castTensor(float32([pairs.length, width, hidden], states), dtype),
      scales: float32(
        [pairs.length, width],
        kept.flatMap((k) => pad(k.scales ?? [], width)),
      ),
      passage_mask: tensor(
        'int64',
        [pairs.length, width],
        kept.flatMap((k) => pad(new Array<number>(k.states.dims[0]!).fill(1), width)),
      ),
      vector: float32(
        [pairs.length, hidden],
        kept.flatMap((k) => k.vector ?? pad([], hidden)),
      ),
    };
    return numbers((await this.#top.run(feeds)).logits!);
  }

  async close(): Promise<void> {
    await this.#passage.close();
    await this.#top.close();
  }
}

const FORMS: readonly TinyForm[] = [
  { form: 'cosine', top: 2, states: 3 },
  { form: 'cosine', top: 1, states: 4, pooling: 'cls' },
  { form: 'cosine', top: 3, states: 4, pooling: 'cls' },
  { form: 'first', top: 2, states: 2, bottom: 2 },
  { form: 'first', top: 1, states: 2, bottom: 2 },
];
const pairs: readonly Pair[] = QUERIES.flatMap((query) => PASSAGES.map((passage) => ({ query, passage })));
const build = async (form: TinyForm, weights = tinyWeights(form), kept: 'int8' | 'float16' = 'int8') =>
  interactionModels(await writeTinyInteraction(join(root, `m${++count}`), form, weights), kept);

describe.each(FORMS)('both graphs of an interaction model: $form, top $top, states $states, $pooling', (form) => {
  const plain = new PlainModel(tinyWeights(form), form);
  let both: Both;
  beforeAll(async () => {
    both = await Both.open(await build(form));
  });
  afterAll(() => both.close());

  it('score as the formulas in doubles, queries and lengths mixed in one batch', async () => {
    const kept = await both.keep(PASSAGES);
    const found = await both.score(
      pairs,
      QUERIES.flatMap(() => kept),
    );
    pairs.forEach(({ query, passage }, i) => {
      expect(found[i]).toBeCloseTo(plain.score(query, passage), 4);
    });
  });

  it('give a passage the same bits alone and in any batch', async () => {
    const kept = await both.keep(PASSAGES);
    const alone = await Promise.all(PASSAGES.map(async (passage) => (await both.keep([passage]))[0]!));
    alone.forEach((one, i) => {
      expect(numbers(one.states)).toEqual(numbers(kept[i]!.states));
      expect(one.scales).toEqual(kept[i]!.scales);
      expect(one.vector).toEqual(kept[i]!.vector);
    });
    const among = await both.score(
      pairs,
      QUERIES.flatMap(() => kept),
    );
    for (const [i, pair] of pairs.entries()) {
      const [single] = await both.score([pair], [kept[i % PASSAGES.length]!]);
      expect(single).toBe(among[i]);
    }
  });
});

describe('a hidden size whose products the engine adds in blocks', () => {
  it('gives a passage the same bits beside short and long ones', async () => {
    const form: TinyForm = { form: 'cosine', top: 1, states: 4, hidden: 320 };
    const both = await Both.open(await build(form));
    const passages = [10, 40, 64, 60].map(text);
    const kept = await both.keep(passages);
    const query = QUERIES[0]!;
    const among = await both.score(
      passages.map((passage) => ({ query, passage })),
      kept,
    );
    for (const [i, passage] of passages.entries())
      expect((await both.score([{ query, passage }], [kept[i]!]))[0]).toBe(among[i]);
    await both.close();
  });
});

describe('an interaction model with closed gates and a head of zeros', () => {
  it('gives the cosine of its bi-encoder', async () => {
    const form: TinyForm = { form: 'cosine', top: 3, states: 3 };
    const weights = tinyWeights(form);
    close(weights, /gate$|head\.1/);
    weights.set('interaction.scale', float32([1], [60]));
    const plain = new PlainModel(weights, form);
    const both = await Both.open(await build(form, weights));
    const kept = await both.keep(PASSAGES);
    const found = await both.score(
      pairs,
      QUERIES.flatMap(() => kept),
    );
    await both.close();
    pairs.forEach(({ query, passage }, i) => {
      expect(found[i]! / 60).toBeCloseTo(plain.cosine(query, passage), 6);
    });
  });
});

describe('states in float16', () => {
  it('score within rounding of int8, without scales', async () => {
    const form = FORMS[0]!;
    const models = await build(form, tinyWeights(form), 'float16');
    expect(models.passage.graph.outputs.map(({ name }) => name)).toEqual(['states', 'vector']);
    const both = await Both.open(models);
    const kept = await both.keep(PASSAGES);
    const found = await both.score(
      pairs,
      QUERIES.flatMap(() => kept),
    );
    await both.close();
    const plain = new PlainModel(tinyWeights(form), form);
    pairs.forEach(({ query, passage }, i) => {
      expect(found[i]).toBeCloseTo(plain.score(query, passage), 1);
    });
  });
});
