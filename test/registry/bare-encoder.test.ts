import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { writeGraph } from '../../src/main/write-graph.ts';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { readModel, writeModel } from '../../src/onnx/model-file.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { numbers, tensor } from '../../src/onnx/tensor.ts';
import { publish } from '../../src/registry/publish-version.ts';
import { readVersionFolder } from '../../src/registry/version-folder.ts';
import { type SideStatement, withGraph } from '../../src/registry/weights-folder.ts';
import { tinyStates, writeTinyBiEncoder } from '../support/tiny-bi-encoder.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

/* Bi-encoders in folders without modules.json: what model.json or flags say is part of the graph that is written. */

const folder = mkdtempSync(join(tmpdir(), 'winnow-bare-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Two rows of six and three tokens. */
const ROWS = [
  [2, 7, 9, 11, 13, 3],
  [2, 8, 3],
];
const LENGTH = 6;

function feeds() {
  const padded = ROWS.map((row) => [...row, ...new Array<number>(LENGTH - row.length).fill(0)]);
  const mask = ROWS.map((row) => padded[0]!.map((_, i) => (i < row.length ? 1 : 0)));
  return {
    input_ids: tensor('int64', [2, LENGTH], padded.flat()),
    attention_mask: tensor('int64', [2, LENGTH], mask.flat()),
  };
}

/** The states of each row's tokens, without padding. */
async function states(): Promise<number[][][]> {
  const all = numbers(Object.values(await runOnce(tinyStates(), feeds()))[0]!);
  const width = all.length / 2 / LENGTH;
  return ROWS.map((row, r) => row.map((_, t) => all.slice((r * LENGTH + t) * width, (r * LENGTH + t + 1) * width)));
}

const sum = (tokens: readonly number[][], weight: (t: number) => number): number[] =>
  tokens[0]!.map((_, i) => tokens.reduce((total, x, t) => total + weight(t) * x[i]!, 0));

/** The modes of sentence-transformers' Pooling, written anew. */
const MODES: Readonly<Record<string, (tokens: readonly number[][]) => number[]>> = {
  cls: (tokens) => tokens[0]!,
  lasttoken: (tokens) => tokens.at(-1)!,
  max: (tokens) => tokens[0]!.map((_, i) => Math.max(...tokens.map((x) => x[i]!))),
  mean: (tokens) => sum(tokens, () => 1 / tokens.length),
  mean_sqrt_len_tokens: (tokens) => sum(tokens, () => 1 / Math.sqrt(tokens.length)),
  weightedmean: (tokens) => {
    const total = (tokens.length * (tokens.length + 1)) / 2;
    return sum(tokens, (t) => (t + 1) / total);
  },
};

const unit = (x: readonly number[]): number[] => x.map((one) => one / Math.hypot(...x));

let made = 0;
/** Writes a folder with an encoder and `model.json`. */
async function bare(manifest: object | undefined, model: Model = tinyStates()): Promise<string> {
  const at = join(folder, `bare${++made}`);
  await writeTinyBiEncoder(at);
  await writeModel(join(at, 'onnx/model.onnx'), { ...model, producer: 'pytorch' });
  if (manifest) writeFileSync(join(at, 'model.json'), JSON.stringify({ format: 1, ...manifest }));
  return at;
}

interface Whole {
  readonly vectors: readonly number[][];
  readonly outputs: readonly string[];
  readonly manifest: Record<string, unknown>;
}

/** Reads a folder as imports do. */
const whole = (at: string, stated: SideStatement = {}, names: readonly string[] = []): Promise<Whole> =>
  withGraph(
    at,
    join(folder, 'models'),
    { writeGraph },
    names,
    async (complete) => {
      const model = await readModel(join(complete, 'onnx/model.onnx'));
      const [found] = Object.values(await runOnce(model, feeds()));
      const values = numbers(found!);
      const width = values.length / 2;
      const manifest = existsSync(join(complete, 'model.json'))
        ? (JSON.parse(readFileSync(join(complete, 'model.json'), 'utf8')) as Record<string, unknown>)
        : {};
      await readVersionFolder(complete);
      return {
        vectors: [values.slice(0, width), values.slice(width)],
        outputs: model.graph.outputs.map(({ name }) => name),
        manifest,
      };
    },
    stated,
  );

function expectNear(found: readonly number[][], expected: readonly number[][]): void {
  for (const [r, row] of expected.entries()) for (const [i, x] of row.entries()) expect(found[r]![i]).toBeCloseTo(x, 5);
}

/** A graph that gives the mean of its states too, or that alone. */
function withVectors(alone: boolean): Model {
  const model = tinyStates('token_embeddings');
  const g = GraphBuilder.from(model.graph, { outputs: !alone });
  const first = g.gather('token_embeddings', g.scalar(0, 'int64'), 1);
  g.output(g.mul(first, g.scalar(3)), 'float32', ['batch', 16], 'sentence_embedding');
  return { ...model, graph: g.build() };
}

describe('a bi-encoder without modules.json', () => {
  it.each(Object.keys(MODES))('is pooled as model.json says: %s', async (pooling) => {
    const expected = (await states()).map((tokens) => MODES[pooling]!(tokens));
    const { vectors, outputs, manifest } = await whole(await bare({ kind: 'bi-encoder', pooling }));
    expectNear(vectors, expected.map(unit));
    expect(outputs).toEqual(['sentence_embedding']);
    expect(manifest).toEqual({ format: 1, kind: 'bi-encoder', queryPrefix: '', passagePrefix: '', scale: 1 });
    const raw = await whole(await bare({ kind: 'bi-encoder', pooling, normalize: false }));
    expectNear(raw.vectors, expected);
  });

  it('is pooled as flags say, which count before model.json', async () => {
    const at = await bare({ kind: 'bi-encoder', pooling: 'cls', queryPrefix: 'a: ' }, tinyStates('token_embeddings'));
    const stated = { kind: 'bi-encoder', pooling: 'mean', passagePrefix: 'b: ' } as const;
    const { vectors, manifest } = await whole(at, stated);
    expectNear(
      vectors,
      (await states()).map((tokens) => unit(MODES.mean!(tokens))),
    );
    expect(manifest).toMatchObject({ queryPrefix: 'a: ', passagePrefix: 'b: ' });
    expect((await whole(await bare(undefined), stated)).manifest).toMatchObject({ kind: 'bi-encoder' });
  });

  it('has the prefixes that a model of its name is known for, or its prompts', async () => {
    const stated = { kind: 'bi-encoder', pooling: 'mean' } as const;
    const at = await bare(undefined);
    expect((await whole(at, stated, ['e5-base'])).manifest).toMatchObject({
      queryPrefix: 'query: ',
      passagePrefix: 'passage: ',
    });
    writeFileSync(
      join(at, 'config_sentence_transformers.json'),
      JSON.stringify({ prompts: { query: 'q: ', document: 'd: ' } }),
    );
    expect((await whole(at, stated, ['e5-base'])).manifest).toMatchObject({ queryPrefix: 'q: ', passagePrefix: 'd: ' });
  });

  it('may give vectors itself', async () => {
    const first = (await states()).map((tokens) => tokens[0]!);
    for (const alone of [true, false]) {
      const cosine = await whole(await bare({ kind: 'bi-encoder' }, withVectors(alone)));
      expectNear(cosine.vectors, first.map(unit));
      expect(cosine.outputs).toEqual(['sentence_embedding']);
      const raw = await whole(await bare({ kind: 'bi-encoder', normalize: false }, withVectors(alone)));
      expectNear(
        raw.vectors,
        first.map((x) => x.map((one) => 3 * one)),
      );
    }
    const pooled = await whole(await bare({ kind: 'bi-encoder', pooling: 'mean' }, withVectors(false)));
    expectNear(
      pooled.vectors,
      (await states()).map((tokens) => unit(MODES.mean!(tokens))),
    );
  });

  it('is read once more from what was written', async () => {
    const at = await bare({ kind: 'bi-encoder', pooling: 'mean', normalize: false });
    const registry = join(folder, 'models');
    const published = await withGraph(at, registry, { writeGraph }, [], (complete) =>
      publish(complete, registry, 'once'),
    );
    const expected = (await states()).map((tokens) => MODES.mean!(tokens));
    expectNear((await whole(published.folder)).vectors, expected);
  });

  it('is refused with what is missing', async () => {
    const refusal = async (at: Promise<string>, stated: SideStatement = {}) =>
      whole(await at, stated).then(
        () => 'nothing',
        (error: Error) => error.message,
      );
    expect(await refusal(bare({ kind: 'bi-encoder' }))).toMatch(
      /expected `pooling` in model.json, or --pooling: cls, max, mean, .*got nothing that says how/,
    );
    expect(await refusal(bare({ kind: 'bi-encoder', pooling: 'mean' }, withVectors(true)))).toMatch(
      /expected a graph with states of tokens .* to pool, got sentence_embedding/,
    );
    expect(await refusal(bare({ kind: 'bi-encoder', pooling: 'median' }))).toMatch(/pooling/);
    expect(await refusal(bare(undefined), { queryPrefix: 'x' })).toMatch(/queryPrefix/);
    const pairs = join(folder, 'pairs');
    await writeTinyModel(pairs);
    expect(await refusal(Promise.resolve(pairs), { kind: 'bi-encoder' })).toMatch(
      /expected a graph with output sentence_embedding, or states of tokens .*got logits/,
    );
    const modular = join(folder, 'modular');
    await writeTinyBiEncoder(modular, { pooling: 'cls' });
    expect(await refusal(Promise.resolve(modular), { kind: 'bi-encoder', pooling: 'mean' })).toMatch(
      /left out beside modules.json.*pooling/,
    );
  });

  it('is refused as a version of the registry before it was imported', async () => {
    const at = await bare({ kind: 'bi-encoder', pooling: 'mean' });
    await expect(readVersionFolder(at)).rejects.toThrow(/winnow models import.*pooling/);
  });
});
