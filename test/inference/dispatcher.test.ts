import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { Dispatcher, firstFree, limitOf, type Worker } from '../../src/inference/dispatcher.ts';
import { HostBroken, HostLost } from '../../src/inference/host-client.ts';
import { decodeRun, encodeScores, type Frame, FrameReader } from '../../src/inference/host-protocol.ts';
import type { Clock } from '../../src/util/clock.ts';
import { row } from './graphs.ts';

const frameOf = (bytes: Uint8Array): Frame => [...new FrameReader().push(bytes)][0]!;

interface Call {
  readonly frame: Frame;
  readonly resolve: (frame: Frame) => void;
  readonly reject: (error: Error) => void;
}

/** A host whose answers the test gives. The device faults it stands in for cannot be had without a device. */
class PaperHost implements Worker {
  readonly index: number;
  readonly loaded = new Set([1]);
  readonly loading = new Set<number>();
  readonly calls: Call[] = [];
  tokens = 0;
  remainingMs = Number.NaN;
  dead = '';

  constructor(index: number) {
    this.index = index;
  }

  get depth(): number {
    return this.calls.length;
  }

  call(encode: (id: number) => Uint8Array): Promise<Frame> {
    const { promise, resolve, reject } = Promise.withResolvers<Frame>();
    this.calls.push({ frame: frameOf(encode(0)), resolve, reject });
    return promise;
  }

  kill(reason: string): void {
    this.dead = reason;
    this.lose(reason);
  }

  /** Answers the oldest call with the first id of each row. */
  answer(): void {
    const { frame, resolve } = this.calls.shift()!;
    const scores = Float32Array.from(decodeRun(frame.payload).rows, ({ ids }) => ids[0]!);
    resolve(frameOf(encodeScores(0, { scores, inferMs: 1, rss: 5, cpuMs: 1 })));
  }

  lose(reason: string): void {
    for (const [i, { reject }] of this.calls.splice(0).entries()) reject(new HostLost(reason, i === 0));
  }

  fail(error: Error): void {
    this.calls.shift()!.reject(error);
  }
}

function dispatching(hosts: PaperHost[], clock: Pick<Clock, 'now'> = { now: () => 0 }) {
  const retried: string[] = [];
  const dispatcher = new Dispatcher<PaperHost>({
    hosts: () => hosts.filter(({ dead }) => dead === ''),
    recovering: () => false,
    handleOf: (key) => (key === 'm' ? 1 : undefined),
    batchTimeoutMs: 1,
    clock,
    answered: () => {},
    retried: (_, __, reason) => retried.push(reason),
  });
  return { dispatcher, retried, submit: (id: number) => dispatcher.submit('m', [row([id])]) };
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('the time a batch may run', () => {
  it.each([
    ['the general limit before anything was learned', undefined, 30_000],
    ['twenty times its prediction', 300, 6000],
    ['at least two seconds', 5, 2000],
    ['at most the general limit', 5000, 30_000],
  ])('is %s', (_, predictedMs, expected) => {
    expect(limitOf(predictedMs, 30_000)).toBe(expected);
  });
});

describe('dispatching', () => {
  it('sends no batch to a host that loads a model, also where there is no other', () => {
    const [host] = [new PaperHost(0)];
    const { dispatcher, submit } = dispatching([host]);
    host.loading.add(2);
    void submit(1);
    expect(host.depth).toBe(0);
    host.loading.clear();
    dispatcher.pump();
    expect(host.depth).toBe(1);
  });

  it('takes a model out for a growing pause when batch after batch of it costs two hosts', async () => {
    let now = 0;
    const hosts = Array.from({ length: 12 }, (_, i) => new PaperHost(i));
    const { submit } = dispatching(hosts, { now: () => now });
    const loseTwice = async () => {
      const lost = submit(1).catch((error: WinnowError) => error.code);
      for (let i = 0; i < 2; i++) {
        await settle();
        hosts.find(({ depth }) => depth > 0)!.lose('gone');
      }
      return lost;
    };
    expect(await loseTwice()).toBe('host_lost');
    expect(await loseTwice()).toBe('host_lost');
    expect(() => submit(2)).toThrow('it is tried again in 1 s');
    now = 1000;
    expect(await loseTwice()).toBe('host_lost');
    expect(() => submit(3)).toThrow('it is tried again in 2 s');
    now = 3000;
    const works = submit(4);
    await settle();
    hosts.find(({ depth }) => depth > 0)!.answer();
    await works;
    expect(await loseTwice()).toBe('host_lost');
    expect(await loseTwice()).toBe('host_lost');
    expect(() => submit(5)).toThrow('it is tried again in 1 s');
  });

  it('keeps two batches at each host and the others waiting', () => {
    const hosts = [new PaperHost(0), new PaperHost(1)];
    const { dispatcher, submit } = dispatching(hosts);
    for (let i = 0; i < 7; i++) void submit(i);
    expect(hosts.map(({ depth }) => depth)).toEqual([2, 2]);
    expect(dispatcher.waiting).toBe(3);
  });

  it('prefers the emptier host, then the one with fewer tokens, among those that hold the model', () => {
    const hosts = [new PaperHost(0), new PaperHost(1), new PaperHost(2)];
    hosts[0]!.loaded.clear();
    hosts[1]!.tokens = 10;
    expect(firstFree(hosts, 1)).toBe(hosts[2]);
    void hosts[2]!.call(() => encodeScores(0, { scores: new Float32Array(0), inferMs: 0, rss: 0, cpuMs: 0 }));
    expect(firstFree(hosts, 1)).toBe(hosts[1]);
    expect(firstFree(hosts, 2)).toBeUndefined();
  });

  it('prefers the host that would finish first where that can be predicted', () => {
    const hosts = [new PaperHost(0), new PaperHost(1)];
    const finishes = new Map([
      [hosts[0]!, 80],
      [hosts[1]!, 50],
    ]);
    hosts[1]!.tokens = 9000;
    expect(firstFree(hosts, 1, (host) => finishes.get(host)!)).toBe(hosts[1]);
    finishes.set(hosts[1]!, Number.NaN);
    expect(firstFree(hosts, 1, (host) => finishes.get(host)!)).toBe(hosts[0]);
  });

  it('puts the next batch behind the one that ends soonest, whatever its tokens', () => {
    const hosts = [new PaperHost(0), new PaperHost(1)];
    const { dispatcher } = dispatching(hosts);
    const send = (tokens: number) => void dispatcher.submit('m', [row(Array(tokens).fill(1))], undefined, 40);
    send(500);
    send(400);
    expect(hosts.map(({ depth }) => depth)).toEqual([1, 1]);
    Object.assign(hosts[0]!, { remainingMs: 3, tokens: 500 });
    Object.assign(hosts[1]!, { remainingMs: 39, tokens: 400 });
    send(100);
    expect(hosts.map(({ depth }) => depth)).toEqual([2, 1]);
  });

  it('answers every batch with its own scores, whichever host is quicker', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(1), { maxLength: 60 }), async (order) => {
        const hosts = [new PaperHost(0), new PaperHost(1)];
        const { submit } = dispatching(hosts);
        const answers = Promise.all(Array.from({ length: 20 }, (_, i) => submit(i)));
        for (const h of [...order, ...Array.from({ length: 40 }, (_, i) => i % 2)]) {
          if (hosts[h]!.depth > 0) hosts[h]!.answer();
          await settle();
        }
        expect((await answers).map(({ scores }) => scores[0])).toEqual(Array.from({ length: 20 }, (_, i) => i));
      }),
      { numRuns: 20 },
    );
  });

  it('counts a lost host against the batch that ran, not the one behind it', async () => {
    const [host] = [new PaperHost(0)];
    const { submit, retried } = dispatching([host]);
    const poison = submit(1);
    const innocent = submit(2);
    const gone = expect(poison).rejects.toMatchObject({ code: 'host_lost' });
    for (let i = 0; i < 2; i++) {
      host.lose('SIGSEGV');
      await settle();
      // Whichever order they came back in, let the innocent one be behind again.
      if (i === 0 && decodeRun(host.calls[0]!.frame.payload).rows[0]!.ids[0] !== 1) host.calls.reverse();
    }
    await gone;
    host.answer();
    expect((await innocent).scores[0]).toBe(2);
    expect(retried).toEqual(['SIGSEGV']);
  });

  it('replaces a host whose device failed for good, and runs the batch elsewhere', async () => {
    const hosts = [new PaperHost(0), new PaperHost(1)];
    const { submit } = dispatching(hosts);
    const answer = submit(4);
    hosts[0]!.fail(new HostBroken('CUDA error 700: an illegal memory access was encountered'));
    await settle();
    expect(hosts[0]!.dead).toContain('CUDA error 700');
    hosts[1]!.answer();
    expect(await answer).toMatchObject({ host: 1 });
  });

  it('gives no failed batch to another host', async () => {
    const hosts = [new PaperHost(0), new PaperHost(1)];
    const { submit } = dispatching(hosts);
    const answer = submit(4);
    hosts[0]!.fail(new WinnowError('inference_failed', { reason: 'bad id' }));
    await expect(answer).rejects.toThrow('bad id');
    expect(hosts[1]!.depth).toBe(0);
  });

  it('drops a waiting batch whose caller aborted', async () => {
    const host = new PaperHost(0);
    const { dispatcher } = dispatching([host]);
    const gone = new AbortController();
    const answer = dispatcher.submit('m', [row([1])], gone.signal);
    gone.abort(new Error('left'));
    await expect(answer).rejects.toThrow('left');
    host.lose('SIGKILL');
    await settle();
    expect([host.depth, dispatcher.waiting]).toEqual([0, 0]);
  });
});
