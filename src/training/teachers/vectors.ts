import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import type { Model } from '../../onnx/graph.ts';
import { type Kept, keyOf, openKeptRecords } from '../../util/kept-records.ts';

/*
 * Vectors of texts that a teacher has embedded: the last ones in memory, all of them on disk where a folder is given, in which every encoder has a
 * folder of its own.
 */

/** The vector of a text, and whether the encoder left out a part of it. */
export interface KeptVector {
  readonly vector: Float32Array;
  readonly truncated: boolean;
}

export interface Vectors {
  /** Returns the vectors of texts in their order; undefined for one that is not kept. */
  get(texts: readonly string[]): Promise<(KeptVector | undefined)[]>;
  /** Keeps vectors; in the file when it resolves. */
  add(found: ReadonlyMap<string, KeptVector>): Promise<void>;
  close(): Promise<void>;
}

/** What decides the vector of a text, its prefix included in the text. */
interface Encoder {
  readonly model: Model;
  /** Equal for tokenizers that make the same rows. */
  readonly pairKey: string;
  readonly maxLength: number;
}

/** Vectors in memory; of 384 numbers, 100 MB. */
const IN_MEMORY = 1 << 16;

/** Returns a name of a graph: equal weights in equal nodes give equal vectors. */
function nameOf({ model: { graph }, pairKey, maxLength }: Encoder): string {
  const digest = createHash('sha256').update(JSON.stringify([pairKey, maxLength]));
  for (const { op, inputs, outputs } of graph.nodes) digest.update(JSON.stringify([op, inputs, outputs]));
  for (const [name, { bytes }] of graph.initializers) digest.update(name).update(bytes);
  return digest.digest('hex').slice(0, 16);
}

const recordOf = ({ vector, truncated }: KeptVector): Kept => ({
  note: truncated ? 1 : 0,
  value: new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength),
});

// The copy begins where numbers of four bytes may.
const vectorOf = ({ note, value }: Kept): KeptVector => ({
  vector: new Float32Array(new Uint8Array(value).buffer),
  truncated: note === 1,
});

/**
 * Opens the vectors that an encoder has made.
 * @param folder keeps them for later runs; several processes may have it open. What is in it for one encoder belongs to one graph, tokenizer and
 * length. Without one, the last vectors are in memory.
 */
export async function openVectors(folder: string | undefined, encoder: Encoder): Promise<Vectors> {
  const recent = new LRUCache<string, KeptVector>({ max: IN_MEMORY });
  const disk = folder === undefined ? undefined : await openKeptRecords(join(folder, nameOf(encoder)));
  const read = async (text: string): Promise<KeptVector | undefined> => {
    const known = recent.get(text);
    if (known || !disk) return known;
    const kept = await disk.read(keyOf(text));
    if (!kept) return undefined;
    const found = vectorOf(kept);
    recent.set(text, found);
    return found;
  };
  return {
    get: (texts) => Promise.all(texts.map(read)),
    async add(found) {
      for (const [text, vector] of found) recent.set(text, vector);
      await disk?.append(new Map([...found].map(([text, vector]) => [keyOf(text), recordOf(vector)])));
    },
    close: async () => disk?.close(),
  };
}
