import { createRandom, deriveSeed } from '../../util/random.ts';

/** Passes items on in an order the seed decides: a full buffer gives up a random one for each that comes. */
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

/** `size` items of a stream, each as likely as any other (algorithm R, Vitter 1985). */
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
