import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSession } from '../../src/inference/providers.ts';
import { loadTokenizer } from '../../src/tokenization/load.ts';
import { rowFeeds } from '../../src/training/step/feeds.ts';
import { createRandom } from '../../src/util/random.ts';
import { dot } from '../../src/util/vectors.ts';

/* The word table of the small backbone: pieces of a sentence encoder's vocabulary, each as the encoder sees it alone, in few dimensions. */

/** Pieces the encoder knows before its first word; the words follow by falling frequency. */
const FIRST_WORD = 1996;
const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] as const;
/** Frequency at which a word counts half (smooth inverse frequency, Arora et al. 2017). */
const HALF_WEIGHT = 1e-3;
const BATCH = 64;
const ITERATIONS = 60;

type Definition = Record<string, unknown> & {
  added_tokens: { content: string }[];
  post_processor: { special_tokens: Record<string, { ids: number[] }> };
  model: { vocab: Record<string, number> };
};

export interface WordTable {
  /** tokenizer.json of the pieces kept. */
  readonly tokenizer: object;
  /** One vector per piece, in the order of the vocabulary; zero for special tokens and punctuation. */
  readonly vectors: readonly (readonly number[])[];
}

/** Returns the definition of a tokenizer with these pieces, special tokens first. */
function definitionOf(definition: Definition, pieces: readonly string[]): object {
  const ids = new Map(pieces.map((piece, id) => [piece, id]));
  const special = definition.post_processor.special_tokens;
  return {
    ...definition,
    truncation: null,
    padding: null,
    added_tokens: definition.added_tokens.map((token) => ({ ...token, id: ids.get(token.content)! })),
    post_processor: {
      ...definition.post_processor,
      special_tokens: Object.fromEntries(
        Object.entries(special).map(([name, token]) => [name, { ...token, ids: [ids.get(name)!] }]),
      ),
    },
    model: { ...definition.model, vocab: Object.fromEntries(ids) },
  };
}

/** Returns the ids of all pieces of the texts, all characters, and frequent words up to `count`, in ascending order. */
async function keptIds(folder: string, pieces: readonly string[], texts: readonly string[], count: number) {
  const { encodeText } = await loadTokenizer(folder);
  const kept = new Set(texts.flatMap((text) => [...encodeText(text)]));
  for (const [id, piece] of pieces.entries()) if (/^([!-~]|##[a-z0-9])$/.test(piece)) kept.add(id);
  for (let id = FIRST_WORD; kept.size < count && id < pieces.length; id++)
    if (/^[a-z]+$/.test(pieces[id]!)) kept.add(id);
  return [...kept].filter((id) => !SPECIAL.some((name) => name === pieces[id])).toSorted((a, b) => a - b);
}

/** Returns the mean state of `[CLS] piece [SEP]` for each piece. */
async function meanStates(folder: string, ids: readonly number[], [cls, sep]: readonly [number, number]) {
  const session = await createSession(join(folder, 'onnx/model.onnx'));
  const vectors: Float64Array[] = [];
  for (let from = 0; from < ids.length; from += BATCH) {
    const rows = ids.slice(from, from + BATCH).map((id) => ({
      ids: Int32Array.of(cls, id, sep),
      secondSegment: 3,
      truncated: false,
    }));
    const states = (await session.run(rowFeeds(rows, session.inputNames, 0))).last_hidden_state!;
    const width = states.dims.at(-1)!;
    const data = states.data as Float32Array;
    for (const row of rows.keys()) {
      const token = (t: number, i: number): number => data[(row * 3 + t) * width + i]!;
      vectors.push(Float64Array.from({ length: width }, (_, i) => (token(0, i) + token(1, i) + token(2, i)) / 3));
    }
  }
  await session.release();
  return vectors;
}

/** Makes vectors orthonormal, in place (Gram–Schmidt). */
function orthonormalize(vectors: readonly Float64Array[]): void {
  vectors.forEach((vector, i) => {
    for (const other of vectors.slice(0, i)) {
      const along = dot(vector, other);
      vector.forEach((x, j) => {
        vector[j] = x - along * other[j]!;
      });
    }
    const norm = Math.sqrt(dot(vector, vector));
    vector.forEach((x, j) => {
      vector[j] = x / norm;
    });
  });
}

/** Projects vectors on their `count` principal components (orthogonal iteration). */
function project(vectors: readonly Float64Array[], count: number): number[][] {
  const width = vectors[0]!.length;
  const mean = Float64Array.from(
    { length: width },
    (_, i) => vectors.reduce((sum, v) => sum + v[i]!, 0) / vectors.length,
  );
  const centered = vectors.map((vector) => vector.map((x, i) => x - mean[i]!));
  const covariance = Array.from(mean, () => new Float64Array(width));
  for (const vector of centered)
    for (const [i, row] of covariance.entries()) for (let j = 0; j < width; j++) row[j]! += vector[i]! * vector[j]!;
  const random = createRandom(1);
  let axes = Array.from({ length: count }, () => Float64Array.from({ length: width }, () => random.normal()));
  for (let i = 0; i < ITERATIONS; i++) {
    axes = axes.map((axis) => Float64Array.from(covariance, (row) => dot(row, axis)));
    orthonormalize(axes);
  }
  const turned = Array.from({ length: count }, () => Float64Array.from({ length: count }, () => random.normal()));
  orthonormalize(turned);
  return centered.map((vector) => {
    const along = axes.map((axis) => dot(vector, axis));
    return turned.map((axis) => dot(along, axis));
  });
}

/** Returns the weight of a word in a sentence by its frequency, which Zipf's law gives from its place in the vocabulary. */
function weightOf(id: number, piece: string, size: number): number {
  if (!/[a-z0-9]/.test(piece)) return 0;
  const frequency = 1 / (Math.max(1, id - FIRST_WORD + 1) * Math.log(size));
  return HALF_WEIGHT / (HALF_WEIGHT + frequency);
}

/**
 * Makes a table of `pieces` pieces that covers the texts.
 * @param folder sentence encoder with a BERT vocabulary. @param dims dimensions of a vector.
 */
export async function makeWordTable(
  folder: string,
  texts: readonly string[],
  { pieces: count, dims }: { readonly pieces: number; readonly dims: number },
): Promise<WordTable> {
  const definition = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8')) as Definition;
  const { vocab } = definition.model;
  const pieces: string[] = [];
  for (const [piece, id] of Object.entries(vocab)) pieces[id] = piece;
  const ids = await keptIds(folder, pieces, texts, count - SPECIAL.length);
  const states = await meanStates(folder, ids, [vocab['[CLS]']!, vocab['[SEP]']!]);
  const vectors = project(states, dims).map((vector, i) => {
    const weight = weightOf(ids[i]!, pieces[ids[i]!]!, pieces.length);
    return vector.map((x) => x * weight);
  });
  return {
    tokenizer: definitionOf(definition, [...SPECIAL, ...ids.map((id) => pieces[id]!)]),
    vectors: [...SPECIAL.map(() => new Array<number>(dims).fill(0)), ...vectors],
  };
}
