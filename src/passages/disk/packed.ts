/** Bytes of a key. */
export const KEY_BYTES = 16;

/** A passage as the passage file keeps it. */
export interface KeptPassage {
  /** `KEY_BYTES` bytes. */
  readonly key: Uint8Array;
  /** What the entry belongs to: entries of one space are counted and dropped together. */
  readonly space: string;
  readonly tokens: number;
  readonly value: Uint8Array;
}

/** Passages in one array of each kind, so that they move between threads without an object each. */
export interface PackedPassages {
  /** `KEY_BYTES` bytes each, one after the other. */
  readonly keys: Uint8Array<ArrayBuffer>;
  readonly spaces: readonly string[];
  /** Index in `spaces` of each. */
  readonly spaceOf: Int32Array<ArrayBuffer>;
  readonly tokens: Int32Array<ArrayBuffer>;
  /** Bytes of each value. */
  readonly sizes: Int32Array<ArrayBuffer>;
  /** All values, one after the other. */
  readonly values: Uint8Array<ArrayBuffer>;
}

/** Returns copies of passages in one array of each kind. */
export function packPassages(passages: readonly KeptPassage[]): PackedPassages {
  const spaces = [...new Set(passages.map(({ space }) => space))];
  const places = new Map(spaces.map((space, place) => [space, place]));
  const keys = new Uint8Array(KEY_BYTES * passages.length);
  const sizes = Int32Array.from(passages, ({ value }) => value.length);
  const values = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  passages.forEach(({ key, value }, i) => {
    keys.set(key, KEY_BYTES * i);
    values.set(value, at);
    at += value.length;
  });
  return {
    keys,
    spaces,
    spaceOf: Int32Array.from(passages, ({ space }) => places.get(space)!),
    tokens: Int32Array.from(passages, ({ tokens }) => tokens),
    sizes,
    values,
  };
}

/** Yields passages out of what `packPassages` made. Keys and values are views. */
export function* unpackPassages({
  keys,
  spaces,
  spaceOf,
  tokens,
  sizes,
  values,
}: PackedPassages): Generator<KeptPassage> {
  let at = 0;
  for (const [i, size] of sizes.entries()) {
    yield {
      key: keys.subarray(KEY_BYTES * i, KEY_BYTES * (i + 1)),
      space: spaces[spaceOf[i]!]!,
      tokens: tokens[i]!,
      value: values.subarray(at, at + size),
    };
    at += size;
  }
}

/** Returns the buffers to hand over with packed passages. */
export const buffersOf = ({ keys, spaceOf, tokens, sizes, values }: PackedPassages): ArrayBuffer[] =>
  [keys, spaceOf, tokens, sizes, values].map(({ buffer }) => buffer);
