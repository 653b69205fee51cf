import { EventEmitter } from 'node:events';
import type { Request } from 'express';
import { describe, expect, it } from 'vitest';
import { Discards } from '../../src/http/discards.ts';

/** A refused body whose end the test gives. */
class Body extends EventEmitter {
  reading = false;
  pause(): void {}
  resume(): void {
    this.reading = true;
  }
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('refused bodies', () => {
  it('are read four at a time, also when one that waits goes away', async () => {
    const discards = new Discards();
    const bodies = Array.from({ length: 8 }, () => new Body());
    const ends = bodies.map((body) => discards.run(body as unknown as Request));
    const reading = () => bodies.flatMap((body, i) => (body.reading ? [i] : []));
    expect(reading()).toEqual([0, 1, 2, 3]);
    bodies[5]!.emit('close');
    await settle();
    expect(reading()).toEqual([0, 1, 2, 3]);
    bodies[0]!.emit('close');
    await settle();
    expect(reading()).toEqual([0, 1, 2, 3, 4]);
    for (const body of bodies) body.emit('close');
    await settle();
    for (const body of bodies) body.emit('close');
    expect(await Promise.all(ends)).toEqual(Array(8).fill(true));
  });
});
