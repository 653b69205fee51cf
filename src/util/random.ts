/** A seeded generator (xoshiro128**, Blackman and Vigna 2018): the same seed gives the same draws on every machine. */
export interface Random {
  /** Draws uniformly from [0, 1) with 32 bits. */
  next(): number;
  /** Fills the array with draws of 32 bits, in the order of `next`; several times as fast as single draws. */
  fill(draws: Uint32Array): void;
  /** Draws a whole number uniformly from [0, n). */
  below(n: number): number;
  /** Draws from the standard normal distribution (polar method). */
  normal(): number;
  /** Shuffles in place (Fisher–Yates) and returns the array. */
  shuffle<T>(items: T[]): T[];
}

function splitMix(seed: number): () => number {
  let x = seed >>> 0;
  return () => {
    x = (x + 0x9e3779b9) >>> 0;
    let z = x;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
}

/** Derives a 32-bit seed from a seed and names (FNV-1a), so that streams of different names share no draws. */
export function deriveSeed(seed: number, ...names: readonly (string | number)[]): number {
  let hash = 0x811c9dc5 ^ seed;
  for (const character of names.join('\u0000')) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193);
  return hash >>> 0;
}

/** Creates a generator; its 128 bits of state come from the seed by SplitMix. */
export function createRandom(seed: number): Random {
  const mix = splitMix(seed);
  const s = Uint32Array.from({ length: 4 }, mix);
  const rotate = (x: number, k: number) => (x << k) | (x >>> (32 - k));
  const bits = (): number => {
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotate(s[3]!, 11);
    return result;
  };
  const fill = (draws: Uint32Array): void => {
    let [a, b, c, d] = s as unknown as [number, number, number, number];
    for (let i = 0; i < draws.length; i++) {
      const five = Math.imul(b, 5);
      draws[i] = Math.imul((five << 7) | (five >>> 25), 9);
      const t = b << 9;
      c ^= a;
      d ^= b;
      b ^= c;
      a ^= d;
      c ^= t;
      d = (d << 11) | (d >>> 21);
    }
    s.set([a, b, c, d]);
  };
  const next = (): number => bits() / 4294967296;
  const below = (n: number): number => Math.floor(next() * n);
  return {
    next,
    fill,
    below,
    normal() {
      for (;;) {
        const u = 2 * next() - 1;
        const v = 2 * next() - 1;
        const r = u * u + v * v;
        if (r > 0 && r < 1) return u * Math.sqrt((-2 * Math.log(r)) / r);
      }
    },
    shuffle(items) {
      for (let i = items.length - 1; i > 0; i--) {
        const j = below(i + 1);
        [items[i], items[j]] = [items[j]!, items[i]!];
      }
      return items;
    },
  };
}
