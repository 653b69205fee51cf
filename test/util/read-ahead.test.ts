import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { readAhead } from '../../src/util/read-ahead.ts';

const chunk = (size: number) => new Uint8Array(size);

async function sizes(stream: AsyncIterable<Uint8Array>, into: number[]): Promise<number[]> {
  for await (const part of stream) into.push(part.byteLength);
  return into;
}

describe('reading ahead of a consumer', () => {
  it('delivers what arrived before the stream broke, and then its error', async () => {
    const broken = new Error('other side closed');
    let n = 0;
    const source = new ReadableStream<Uint8Array>({
      pull: (controller) => (n++ < 3 ? controller.enqueue(chunk(n)) : controller.error(broken)),
    });
    const ahead = readAhead(source);
    await setImmediate();
    const got: number[] = [];
    await expect(sizes(ahead, got)).rejects.toBe(broken);
    expect(got).toEqual([1, 2, 3]);
  });

  it('pauses while more waits than it may hold, and goes on as it is taken', async () => {
    let pulled = 0;
    const source = new ReadableStream<Uint8Array>(
      { pull: (controller) => (pulled++ < 40 ? controller.enqueue(chunk(10)) : controller.close()) },
      { highWaterMark: 0 },
    );
    const ahead = readAhead(source, 100);
    await setImmediate();
    expect(pulled).toBe(11);
    expect(await sizes(ahead, [])).toEqual(Array<number>(40).fill(10));
  });

  it('ends the transfer when the consumer leaves early', async () => {
    let reason: unknown = 'open';
    const source = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(chunk(1)),
      cancel: (why) => (reason = why),
    });
    for await (const part of readAhead(source, 5)) {
      expect(part.byteLength).toBe(1);
      break;
    }
    expect(reason).toBeUndefined();
  });
});
