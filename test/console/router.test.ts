import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LoopDelayWatch } from '../../src/console/loop-delay.ts';
import { readPlayground } from '../../src/console/playground.ts';
import { consoleApi, consolePage } from '../../src/console/router.ts';
import type { ConsoleSources } from '../../src/console/types.ts';
import { readAbout } from '../../src/console/version-files.ts';
import { WinnowError } from '../../src/errors.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'winnow-console-'));
  mkdirSync(join(folder, 'page/assets'), { recursive: true });
  writeFileSync(join(folder, 'page/index.html'), '<p>page</p>');
  writeFileSync(join(folder, 'page/assets/index-1a2b.js'), '1;');
  writeFileSync(join(folder, 'secret'), 'secret');
});
afterAll(() => rmSync(folder, { recursive: true }));

const codeOf = async (work: () => unknown): Promise<string | undefined> => {
  try {
    await work();
  } catch (error) {
    return (error as WinnowError).code;
  }
  return undefined;
};

describe('the page', () => {
  const app = (page: string, keyed = true) => express().use('/console', consolePage({ keyed }, page));

  it('has a policy that allows no other servers and no inline code', async () => {
    const answer = await request(app(join(folder, 'page')))
      .get('/console/')
      .expect(200, '<p>page</p>');
    const policy = answer.headers['content-security-policy']!.split('; ');
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).toContain("style-src 'self'");
    expect(policy.join()).not.toMatch(/unsafe|\*|https?:/);
    expect(answer.headers['cache-control']).not.toContain('immutable');
  });

  it('redirects to the slash, and its assets are cached', async () => {
    await request(app(join(folder, 'page')))
      .get('/console')
      .expect(301)
      .expect('location', '/console/');
    const asset = await request(app(join(folder, 'page')))
      .get('/console/assets/index-1a2b.js')
      .expect(200);
    expect(asset.headers['cache-control']).toContain('immutable');
  });

  it('serves only files of its folder', async () => {
    for (const path of ['/console/../secret', '/console/%2e%2e/secret', '/console/..%2fsecret'])
      expect((await request(app(join(folder, 'page'))).get(path)).text).not.toContain('secret\n');
  });

  it('says how to build it if it is not built, and whether a key is needed', async () => {
    const answer = await request(app(join(folder, 'nowhere'), false))
      .get('/console/')
      .expect(503);
    expect(answer.text).toContain('npm run build:console');
    await request(app(join(folder, 'nowhere'), false))
      .get('/console/access.json')
      .expect(200, { keyed: false });
  });
});

describe('a version’s folder', () => {
  const version = (name: string, files: Readonly<Record<string, string>>): string => {
    const path = join(folder, name);
    mkdirSync(path);
    for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
    return path;
  };

  it('has card and curve, or not', async () => {
    expect(await readAbout(version('both', { 'README.md': '# m', 'curve.svg': '<svg/>', other: 'x' }))).toEqual({
      card: '# m',
      curve: '<svg/>',
    });
    expect(await readAbout(version('none', {}))).toEqual({});
    expect(await readAbout(join(folder, 'gone'))).toEqual({});
  });

  it('is not read through links out of it, nor huge files', async () => {
    const linked = version('linked', {});
    symlinkSync(join(folder, 'secret'), join(linked, 'README.md'));
    expect(await codeOf(() => readAbout(linked))).toBe('unsafe_path');
    const odd = version('odd', {});
    mkdirSync(join(odd, 'README.md'));
    expect(await readAbout(odd)).toEqual({});
    expect(await codeOf(() => readAbout(version('huge', { 'README.md': 'x'.repeat(2 ** 20 + 1) })))).toBe(
      'body_too_large',
    );
  });
});

describe('playground requests', () => {
  it('are parsed, or refused with the field', async () => {
    expect(readPlayground({ query: 'q', passages: ['p'], model: 'm@1', more: 1 })).toEqual({
      query: 'q',
      passages: ['p'],
      model: 'm@1',
    });
    const bodies: readonly (readonly [unknown, string])[] = [
      [undefined, 'invalid_field'],
      [{ query: ' ', passages: ['p'] }, 'invalid_field'],
      [{ query: 'q', passages: 'p' }, 'invalid_field'],
      [{ query: 'q', passages: ['p', 2] }, 'invalid_field'],
      [{ query: 'q', passages: ['p'], model: 3 }, 'invalid_field'],
      [{ query: 'q', passages: [] }, 'empty_passages'],
      [{ query: 'q', passages: Array.from({ length: 1001 }, () => 'p') }, 'too_many_passages'],
    ];
    for (const [body, code] of bodies)
      expect(await codeOf(() => readPlayground(body)), JSON.stringify(body)?.slice(0, 60)).toBe(code);
  });

  it('of a client that disconnects are aborted', async () => {
    let signal: AbortSignal | undefined;
    const sources = {
      rerank: (asked: { signal: AbortSignal }) => {
        signal = asked.signal;
        return new Promise((_, reject) =>
          asked.signal.addEventListener('abort', () => reject(new WinnowError('client_closed'))),
        );
      },
    } as unknown as ConsoleSources;
    const server = express().use(express.json(), consoleApi(sources)).listen(0);
    const { port } = server.address() as { port: number };
    const gone = new AbortController();
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ query: 'q', passages: ['p'] });
    const call = fetch(`http://127.0.0.1:${port}/rerank`, { method: 'POST', headers, body, signal: gone.signal });
    await expect.poll(() => signal).toBeDefined();
    gone.abort();
    await expect(call).rejects.toThrow();
    await expect.poll(() => signal!.aborted).toBe(true);
    server.close();
  });
});

it('the event loop’s delay is that of the time between two readings', async () => {
  const watch = new LoopDelayWatch();
  expect(watch.read()).toEqual({ p50: 0, p99: 0, max: 0 });
  // A stall lands in the histogram at the next tick of its timer, so a crowded machine may need more than one.
  const stalled = async (): Promise<number> => {
    const until = performance.now() + 60;
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 30));
    return watch.read().max;
  };
  await expect.poll(stalled, { timeout: 20_000 }).toBeGreaterThan(10);
  watch.close();
});
