import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { createAdamWTeam, sharedFloats } from '../../../src/training/optimizers/adamw-team.ts';
import { CHUNK, type SharedWork } from '../../../src/training/optimizers/adamw-work.ts';
import { createRandom } from '../../../src/util/random.ts';

const OPTIONS = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };
const SIZES = [7, CHUNK, CHUNK + 1, 3 * CHUNK - 5];
const CHUNKS = 7;

function weights() {
  const random = createRandom(5);
  return SIZES.map((size) => {
    const make = (draw: () => number) => Float32Array.from({ length: size }, draw);
    const normal = () => random.normal();
    const shared = (values: Float32Array) => {
      const own = sharedFloats(size);
      own.set(values);
      return own;
    };
    return {
      arrays: {
        weight: shared(make(normal)),
        firstMoment: shared(make(normal)),
        secondMoment: shared(make(() => random.next())),
      },
      gradient: shared(make(normal)),
    };
  });
}

const MOVES = SIZES.map((_, i) => ({
  factor: 0.5 + i,
  learningRate: 1e-3,
  stepSize: 2e-3,
  secondScale: 3,
  decays: i % 2 === 0,
}));

/** Starts a thread that takes a chunk and then runs `end`. Tickets and chunks are as in adamw-work.ts. */
const startsAndEnds = (end: string) => (workerData: SharedWork) =>
  new Worker(
    `const { control } = require('node:worker_threads').workerData;
     for (;;) {
       const ticket = Atomics.load(control, 0);
       const isLeft = ticket !== 0 && (ticket & 0xffff) < ${CHUNKS};
       if (isLeft && Atomics.compareExchange(control, 0, ticket, ticket + 1) === ticket) break;
     }
     ${end}`,
    { eval: true, workerData },
  );

/** Takes sums until one fails. */
async function untilItFails(team: { squares(): number }): Promise<void> {
  for (;;) {
    team.squares();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function stepped(threads: number, rounds: number) {
  const all = weights();
  const team = createAdamWTeam(all, OPTIONS, threads);
  const squares: number[] = [];
  for (let round = 0; round < rounds; round++) {
    squares.push(team.squares());
    team.update(MOVES);
  }
  await team.close();
  return {
    squares,
    state: all.map(({ arrays }) => Object.values(arrays).map((a) => Buffer.from(Float32Array.from(a).buffer))),
  };
}

describe('AdamW on several threads', () => {
  it('follows the formula, and sums squares in double precision', async () => {
    const before = weights();
    const { squares, state } = await stepped(2, 1);
    const exact = before.flatMap(({ gradient }) => [...gradient]).reduce((sum, g) => sum + g * g, 0);
    expect(Math.abs(squares[0]! / exact - 1)).toBeLessThan(1e-12);
    for (const [n, { arrays, gradient }] of before.entries()) {
      const { factor, learningRate, stepSize, secondScale, decays } = MOVES[n]!;
      const got = state[n]!.map((b) => new Float32Array(b.buffer, b.byteOffset, SIZES[n]));
      for (const i of [0, 1, SIZES[n]! >> 1, SIZES[n]! - 1]) {
        const g = gradient[i]! * factor;
        const m = 0.9 * arrays.firstMoment[i]! + 0.1 * g;
        const v = 0.999 * arrays.secondMoment[i]! + 0.001 * g * g;
        const kept = decays ? 1 - learningRate * 0.01 : 1;
        const w = arrays.weight[i]! * kept - (stepSize * m) / (Math.sqrt(v) * secondScale + 1e-8);
        for (const [at, expected] of [w, m, v].entries()) expect(got[at]![i]!).toBeCloseTo(expected, 5);
      }
    }
  });

  it('gives the same bits with any number of threads, round after round', async () => {
    const one = await stepped(1, 40);
    for (const threads of [2, 3]) {
      const several = await stepped(threads, 40);
      expect(several.squares).toEqual(one.squares);
      expect(several.state.flat().every((b, i) => b.equals(one.state.flat()[i]!))).toBe(true);
    }
  });

  it('has nothing to do without weights', async () => {
    const team = createAdamWTeam([], OPTIONS, 2);
    expect(team.squares()).toBe(0);
    team.update([]);
    await team.close();
  });

  it.each([
    ['ends', 'process.exit(1)', /no thread finished work for 300 ms/, 300],
    ['never ends', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)', /no thread finished work/, 300],
    ['says that it failed', 'Atomics.add(control, 2, 1); Atomics.notify(control, 1)', /a thread failed/, 60_000],
  ])('ends a step with an error where a thread with a chunk %s', async (_, end, message, stallMs) => {
    const team = createAdamWTeam(weights(), OPTIONS, 2, { start: startsAndEnds(end), stallMs });
    await expect(untilItFails(team)).rejects.toThrow(message);
    await team.close();
  });

  it.each([
    ['throws', 'throw new Error("out of luck")', /the optimizer failed: out of luck; resume/],
    ['ends', 'process.exit(3)', /a thread ended with code 3/],
  ])('takes no step after a thread that %s at its start', async (_, end, message) => {
    const start = (workerData: SharedWork) => new Worker(end, { eval: true, workerData });
    const team = createAdamWTeam(weights(), OPTIONS, 2, { start });
    await expect(untilItFails(team)).rejects.toThrow(message);
    await team.close();
  });
});
