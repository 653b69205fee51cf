import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { readTeacher } from '../../../src/training/data/teacher.ts';
import { readRanking } from '../../../src/training/teachers/llm/answer.ts';
import { chatClient } from '../../../src/training/teachers/llm/client.ts';
import { rankingPrompt } from '../../../src/training/teachers/llm/prompt.ts';
import { slide, windows } from '../../../src/training/teachers/llm/windows.ts';
import { retryAfterMs } from '../../../src/util/retry.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'winnow-teach-'));
const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Reply = { status?: number; headers?: Record<string, string>; text?: string; body?: unknown };

/** Starts an endpoint that answers by `reply` to the last message, and counts calls. */
async function endpoint(reply: (prompt: string, call: number, request: IncomingMessage) => Reply) {
  const seen = { calls: 0, most: 0, now: 0, auth: new Set<string | undefined>() };
  const server = createServer(async (request, response) => {
    seen.most = Math.max(seen.most, ++seen.now);
    seen.auth.add(request.headers.authorization);
    let text = '';
    for await (const chunk of request) text += chunk;
    const { messages } = JSON.parse(text) as { messages: { content: string }[] };
    const {
      status = 200,
      headers = {},
      text: answer,
      body,
    } = reply(messages.map((m) => m.content).join('\n'), ++seen.calls, request);
    const ok = body ?? {
      choices: [{ message: { content: answer } }],
      usage: { prompt_tokens: 100, completion_tokens: 10 },
    };
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(ok));
    seen.now--;
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, seen };
}

/** Ranks the shown passages correctly, by the `worth N` in their texts. */
function rankByWorth(prompt: string): string {
  const shown = [...prompt.matchAll(/^\[(\d+)\] worth (\d+)/gm)].map((m) => ({ id: m[1]!, worth: Number(m[2]) }));
  return shown
    .sort((a, b) => b.worth - a.worth)
    .map(({ id }) => `[${id}]`)
    .join(' > ');
}

describe('windows', () => {
  it('run from the end to the start and overlap', () => {
    expect([...windows(50, 20, 10)]).toEqual([
      [30, 50],
      [20, 40],
      [10, 30],
      [0, 20],
    ]);
    expect([...windows(25, 20, 10)]).toEqual([
      [5, 25],
      [0, 15],
    ]);
    expect([...windows(3, 20, 10)]).toEqual([[0, 3]]);
  });

  it('with correct rankings the best `stride` rise to the top, and nothing is lost', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(
          Array.from({ length: 60 }, (_, i) => i),
          { minLength: 2 },
        ),
        async (items) => {
          const ranked = await slide(items, 20, 10, async (shown) =>
            [...shown.keys()].sort((a, b) => shown[b]! - shown[a]!),
          );
          expect([...ranked].sort((a, b) => a - b)).toEqual([...items].sort((a, b) => a - b));
          expect(ranked.slice(0, 10)).toEqual([...items].sort((a, b) => b - a).slice(0, 10));
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('answers', () => {
  it('are repaired: every ranking has each place once', () => {
    expect(readRanking('[2] > [3] > [1]', 3)).toEqual({
      order: [1, 2, 0],
      repairs: { missing: 0, repeated: 0, outOfRange: 0 },
    });
    expect(readRanking('[3] > [3] > [9] > [0]', 4)).toEqual({
      order: [2, 0, 1, 3],
      repairs: { missing: 3, repeated: 1, outOfRange: 2 },
    });
    expect(readRanking('<think>[1] first? no</think>The order is [2] > [1].', 2)!.order).toEqual([1, 0]);
    expect(readRanking('2, 1', 2)!.order).toEqual([1, 0]);
    expect(readRanking('I cannot rank these.', 2)).toBeUndefined();
    fc.assert(
      fc.property(
        fc.string(),
        fc.array(fc.integer({ min: 0, max: 30 })),
        fc.integer({ min: 1, max: 25 }),
        (noise, ids, count) => {
          const ranking = readRanking(noise + ids.map((id) => `[${id}]`).join(' > '), count);
          if (ranking)
            expect([...ranking.order].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
        },
      ),
    );
  });

  it('cannot be misled by bracketed numbers in a passage', () => {
    const prompt = rankingPrompt('q', ['see [7] there', 'one two three four'], 3)[1]!.content;
    expect(prompt).toContain('[1] see (7) there');
    expect(prompt).toContain('[2] one two three\n');
  });
});

describe('client', () => {
  const client = (base: string, waits: number[] = [], attempts = 4) =>
    chatClient({
      base,
      model: 'm',
      temperature: 0,
      attempts,
      timeoutMs: 5000,
      apiKey: 'secret',
      wait: async (ms) => void waits.push(ms),
    });

  it('waits for Retry-After, else twice as long each time', async () => {
    const replies: Reply[] = [
      { status: 429, headers: { 'retry-after': '7' } },
      { status: 503 },
      { body: { choices: [] } },
      { text: 'done' },
    ];
    const { base, seen } = await endpoint((_, call) => replies[call - 1]!);
    const waits: number[] = [];
    expect(await client(base, waits).complete([{ role: 'user', content: 'x' }])).toEqual({
      text: 'done',
      usage: { prompt: 100, completion: 10 },
    });
    expect([waits, [...seen.auth]]).toEqual([[7000, 2000, 4000], ['Bearer secret']]);
    expect(retryAfterMs(new Date(61_000).toUTCString(), 1000)).toBe(60_000);
    expect(retryAfterMs('soon', 0)).toBeUndefined();
  });

  it('fails at once on errors that a retry cannot help, and after the last attempt on others', async () => {
    const { base, seen } = await endpoint(() => ({ status: 401, body: { error: 'bad key' } }));
    await expect(client(base).complete([])).rejects.toThrow(/answered 401 .*bad key/);
    expect(seen.calls).toBe(1);
    const busy = await endpoint(() => ({ status: 500 }));
    await expect(client(busy.base).complete([])).rejects.toThrow(/4 attempts: 500/);
    await expect(client('http://127.0.0.1:1/v1', [], 2).complete([])).rejects.toThrow(/2 attempts: fetch failed/);
  });
});

describe('winnow teach', () => {
  const teach = async (base: string, out: string, cache: string, ...more: readonly string[]) => {
    const args = [
      'teach',
      '--format',
      'jsonl',
      '--data',
      'lists.jsonl',
      '--endpoint',
      base,
      '--model',
      'judge',
      '--out',
      out,
      '--cache',
      cache,
      ...more,
    ];
    return (await promisify(execFile)(process.execPath, [join(ROOT, 'bin', 'winnow.mjs'), ...args], { cwd: folder }))
      .stdout;
  };

  it('ranks in spite of server errors and bad answers, pays once, and continues where it failed', async () => {
    const worth = (q: number, i: number) => (i * 7 + q * 3) % 30;
    const lines = Array.from({ length: 5 }, (_, q) =>
      JSON.stringify({
        query: `query ${q}`,
        docs: Array.from({ length: 30 }, (_, i) => `worth ${worth(q, i)} in ${q}`),
        labels: Array.from({ length: 30 }, () => 0),
      }),
    );
    writeFileSync(join(folder, 'lists.jsonl'), lines.join('\n'));
    let broken = true;
    const { base, seen } = await endpoint((prompt, call) => {
      if (broken && call > 6) return { status: 400, body: { error: 'down for good' } };
      if (call === 2) return { status: 429, headers: { 'retry-after': '0' } };
      if (call === 3) return { text: 'Sorry, I have no idea.' };
      return { text: `Sure: ${rankByWorth(prompt)} > [99]` };
    });
    await expect(teach(base, 'llm.run', 'cache', '--concurrency', '2')).rejects.toThrow(/down for good/);
    broken = false;
    const output = await teach(base, 'llm.run', 'cache', '--concurrency', '2');
    expect(output).toMatch(
      /5 queries, \d+ windows \(\d+ answers repaired, 0 unusable\), \d+ answers paid for: \d+00 \+ \d+0 tokens/,
    );
    expect(seen.most).toBeLessThanOrEqual(2);
    const run = await readTeacher(join(folder, 'llm.run'), 'score');
    expect(run.size).toBe(5);
    // 30 passages, window 20, stride 10: the ten best are in order after all repairs.
    const lists = lines.map((line) => JSON.parse(line) as { docs: string[] });
    const { textId } = await import('../../../src/training/data/ids.ts');
    lists.forEach(({ docs }, q) => {
      const worthOf = new Map(docs.map((doc, i) => [textId(doc), worth(q, i)]));
      const top = [...run.get(textId(`query ${q}`))!].sort(([, a], [, b]) => b - a).slice(0, 10);
      expect(top.map(([docid]) => worthOf.get(docid))).toEqual([29, 28, 27, 26, 25, 24, 23, 22, 21, 20]);
    });
    const calls = seen.calls;
    expect(await teach(base, 'again.run', 'cache')).toContain('0 answers paid for: 0 + 0 tokens');
    expect(seen.calls).toBe(calls);
  }, 60_000);
});
