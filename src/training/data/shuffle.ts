import { createRandom, deriveSeed } from '../../util/random.ts';

/** Yields items shuffled within a buffer: once it is full, each new item replaces a random one, which is yielded. */
export async function* shuffled<T>(items: AsyncIterable<T>, seed: number, size: number): AsyncGenerator<T> {
  const random = createRandom(deriveSeed(seed, 'shuffle'));
  const buffer: T[] = [];
  for await (const item of items) {
    if (buffer.length < size) buffer.push(item);
    else {
      const place = random.below(size);
      yield buffer[place]!;
      buffer[place] = item;
    }
  }
  yield* random.shuffle(buffer);
}

/** Samples `size` items of a stream uniformly (algorithm R, Vitter 1985). */
export async function reservoir<T>(items: AsyncIterable<T>, size: number, seed: number): Promise<T[]> {
  const random = createRandom(deriveSeed(seed, 'reservoir'));
  const kept: T[] = [];
  let seen = 0;
  for await (const item of items) {
    seen++;
    if (kept.length < size) kept.push(item);
    else {
      const place = random.below(seen);
      if (place < size) kept[place] = item;
    }
  }
  return kept;
}
