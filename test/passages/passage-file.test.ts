import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { FileError } from '../../src/passages/disk/errors.ts';
import type { FileCall } from '../../src/passages/disk/file-types.ts';
import { FileKeeper } from '../../src/passages/disk/keeper.ts';
import { type KeptPassage, packPassages, unpackPassages } from '../../src/passages/disk/packed.ts';
import {
  checkPassageFile,
  openPassageFile,
  type PassageFile,
  type PassageFileEvent,
} from '../../src/passages/passage-file.ts';
import { passage, shown } from './file-data.ts';

const root = mkdtempSync(join(tmpdir(), 'winnow-passages-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let count = 0;
const fresh = () => join(root, `${++count}`, 'passages.db');

const numbers = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i);
const limitBytes = 2 ** 30;

/** Opens a file, does `work`, closes it; returns what happened to it. */
async function withFile(
  path: string,
  work: (file: PassageFile) => Promise<void> | void,
  limit = limitBytes,
): Promise<readonly PassageFileEvent[]> {
  const events: PassageFileEvent[] = [];
  const file = await openPassageFile({ path, limitBytes: limit, onEvent: (event) => events.push(event) });
  try {
    await work(file);
  } finally {
    await file.close();
  }
  return events;
}

async function loaded(file: PassageFile): Promise<readonly KeptPassage[]> {
  const all: KeptPassage[] = [];
  await file.load(file.spaces, (passages) => void all.push(...passages));
  return all;
}

/** Reads a whole file. */
async function contents(path: string, limit?: number) {
  let all: readonly KeptPassage[] = [];
  const events = await withFile(
    path,
    async (file) => {
      all = await loaded(file);
    },
    limit,
  );
  return { shown: all.map(shown), all, events };
}

const filled = async (path: string, places: readonly number[], bytes?: number) =>
  withFile(path, (file) => {
    for (const i of places) file.put(passage(i, bytes));
  });

/** Starts a process that writes; `lines` yields what it prints. */
function writer(path: string, options: { readonly bytes?: number; readonly fileLimit?: number } = {}) {
  const child = join(import.meta.dirname, 'file-child.ts');
  const run = `exec "${process.execPath}" "${child}" "${path}" "${options.bytes ?? ''}"`;
  // A write beyond the limit then fails instead of ending the process.
  const script = options.fileLimit ? `trap '' XFSZ; ulimit -f ${options.fileLimit}; ${run}` : run;
  const started = spawn('bash', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  return { started, lines: createInterface({ input: started.stdout })[Symbol.asyncIterator]() };
}

async function killed(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

describe('a passage file', () => {
  it('gives back what was put, in order, with spaces, tokens and every byte', async () => {
    const path = fresh();
    await filled(path, numbers(500));
    const { shown: found, events } = await contents(path);
    expect(found).toEqual(numbers(500).map((i) => shown(passage(i))));
    expect(events).toEqual([]);
  });

  it('reads in pieces what is larger than one, and only what was there at the start', async () => {
    const path = fresh();
    await filled(path, numbers(100), 34_000);
    await withFile(path, async (file) => {
      let [pieces, found] = [0, 0];
      await file.load(file.spaces, (passages) => {
        pieces++;
        found += passages.length;
        file.put(passage(1000 + pieces));
      });
      expect(found).toBe(100);
      expect(pieces).toBeGreaterThan(3);
      await file.flush();
      expect(file.stats()).toMatchObject({ entries: 100 + pieces, damaged: 0, unwritten: 0 });
    });
  });

  it('keeps the first value of a key, forgets keys, and takes a forgotten one again', async () => {
    const path = fresh();
    await withFile(path, async (file) => {
      for (const i of [1, 2, 3]) file.put(passage(i));
      file.forget(passage(2).key);
      file.forget(passage(3).key);
      file.put(passage(3));
      file.put({ ...passage(1), value: new Uint8Array(9) });
      await file.flush();
      file.forget(passage(1).key);
      file.put(passage(1));
    });
    expect((await contents(path)).shown.toSorted()).toEqual([1, 3].map((i) => shown(passage(i))).toSorted());
  });

  it('keeps copies: the caller may change its arrays at once', async () => {
    const path = fresh();
    const { key, value, ...rest } = passage(5);
    const [reusedKey, reused] = [key.slice(), value.slice()];
    await withFile(path, (file) => {
      file.put({ ...rest, key: reusedKey, value: reused });
      reusedKey.fill(0);
      reused.fill(0);
    });
    expect((await contents(path)).shown).toEqual([shown(passage(5))]);
  });

  it('holds at most its limit: the oldest entries go, also when the limit was lowered', async () => {
    const path = fresh();
    const bytes = (all: readonly KeptPassage[]) => all.reduce((sum, { value }) => sum + value.length, 0);
    await withFile(
      path,
      async (file) => {
        for (const i of numbers(100)) file.put(passage(i, 1000));
        await file.flush();
        expect(file.stats()).toMatchObject({ entries: 50, bytes: 50_000 });
      },
      50_500,
    );
    const lowered = await contents(path, 20_000);
    expect(bytes(lowered.all)).toBe(20_000);
    expect(lowered.shown).toEqual(numbers(20, 80).map((i) => shown(passage(i, 1000))));
  });

  it('drops spaces, and all', async () => {
    const path = fresh();
    await withFile(path, async (file) => {
      for (const i of numbers(30)) file.put(passage(i));
      await file.drop(['space 1', 'never there']);
      expect(file.spaces).toEqual(['space 0', 'space 2']);
      expect(file.stats().entries).toBe(20);
      await file.drop();
      expect(file.stats()).toMatchObject({ entries: 0, bytes: 0 });
      file.put(passage(7));
    });
    expect((await contents(path)).shown).toEqual([shown(passage(7))]);
  });

  it('leaves nothing of dropped values on the disk', async () => {
    const path = fresh();
    const needle = Buffer.from(passage(4).value.subarray(0, 64));
    const onDisk = () =>
      readdirSync(join(path, '..')).some((name) => readFileSync(join(path, '..', name)).includes(needle));
    await withFile(path, async (file) => {
      for (const i of numbers(30)) file.put(passage(i));
      await file.flush();
      writeFileSync(`${path}.damaged`, needle);
      expect(onDisk()).toBe(true);
      await file.drop(['space 1']);
      expect(onDisk()).toBe(false);
    });
  });

  it('is readable by its user alone, also one that was not', async () => {
    const path = fresh();
    const modes = () => readdirSync(join(path, '..')).map((name) => statSync(join(path, '..', name)).mode & 0o777);
    await withFile(path, async (file) => {
      file.put(passage(1));
      await file.flush();
      expect(readdirSync(join(path, '..')).length).toBeGreaterThan(1);
      expect(new Set(modes())).toEqual(new Set([0o600]));
    });
    expect(readdirSync(join(path, '..'))).toEqual(['passages.db']);
    chmodSync(path, 0o644);
    await withFile(path, () => {});
    expect(modes()).toEqual([0o600]);
  });

  it('is opened by one process at a time, and free at once after a kill', async () => {
    const path = fresh();
    const { started, lines } = writer(path);
    for (;;) if (String((await lines.next()).value).startsWith('{')) break;
    await expect(openPassageFile({ path, limitBytes, waitMs: 20 })).rejects.toMatchObject({
      code: 'in_use',
      message: expect.stringMatching(/passages\.db: expected no other process at work there.*cache\.passageFile/),
    });
    await killed(started);
    expect((await contents(path)).events).toEqual([]);
  }, 20_000);

  it('loses nothing that was flushed before a kill, and has nothing broken', async () => {
    const path = fresh();
    const expected = new Map<string, number>();
    let known = 0;
    for (const round of numbers(4)) {
      const { started, lines } = writer(path);
      const until = known + 50 + 90 * round;
      let put = 0;
      while (put < until) {
        const { value } = await lines.next();
        if (String(value).startsWith('{')) put = Number(JSON.parse(String(value)).put);
      }
      await killed(started);
      known = put;
      for (const i of numbers(known)) expected.set(shown(passage(i)), i);
      const { shown: found, events, all } = await contents(path);
      expect(events).toEqual([]);
      expect([...expected.keys()].filter((one) => !found.includes(one))).toEqual([]);
      expect(found).toEqual(numbers(all.length).map((i) => shown(passage(i))));
    }
  }, 30_000);
});

describe('a file that cannot be used', () => {
  it('is refused, and left as it is, where something else made it', async () => {
    const path = fresh();
    mkdirSync(join(path, '..'), { recursive: true });
    const other = join(path, '..', 'other.db');
    const database = new DatabaseSync(other);
    database.exec('CREATE TABLE things (id)');
    database.close();
    for (const bytes of [
      readFileSync(other),
      Buffer.from('queries: 1\n'),
      Buffer.from('SQLite format 4 and more text'),
    ]) {
      writeFileSync(path, bytes);
      await expect(openPassageFile({ path, limitBytes })).rejects.toMatchObject({
        code: 'invalid_input',
        message: expect.stringMatching(
          /passages\.db: expected a file of kept passages, or none.*, got a file of another kind/,
        ),
      });
      expect(() => checkPassageFile(path)).toThrow(/got a file of another kind/);
      expect(readFileSync(path)).toEqual(bytes);
    }
  });

  it('is refused where the path is a folder, or below a file', async () => {
    const path = fresh();
    mkdirSync(path, { recursive: true });
    const file = join(path, 'file');
    writeFileSync(file, 'text');
    for (const wrong of [path, join(file, 'passages.db')]) {
      await expect(openPassageFile({ path: wrong, limitBytes })).rejects.toMatchObject({ code: 'invalid_input' });
      expect(() => checkPassageFile(wrong)).toThrow(/passage/);
    }
    checkPassageFile(join(path, 'none.db'));
  });

  it('is set aside where it is damaged: broken header, zeros, cut, of another layout', () => {
    const damage: Readonly<Record<string, (path: string) => void>> = {
      header: (path) => write(path, 0, Buffer.alloc(60, 7)),
      zeros: (path) => write(path, 0, Buffer.alloc(4096)),
      cut: (path) => truncateSync(path, 20_000),
      short: (path) => truncateSync(path, 9),
      schema: (path) => write(path, 100, Buffer.alloc(400, 0xff)),
      layout: (path) => {
        const database = new DatabaseSync(path);
        database.exec('PRAGMA user_version = 77');
        database.close();
      },
    };
    for (const [what, spoil] of Object.entries(damage)) {
      const path = fresh();
      keep(path, numbers(300));
      spoil(path);
      const keeper = new FileKeeper({ path, limitBytes, waitMs: 0 });
      const asides = [readAll(keeper).aside];
      keeper.run(writing(numbers(1, 900)));
      asides.push(keeper.facts().aside);
      keeper.run({ kind: 'close' });
      expect(asides.filter(Boolean), what).toMatchObject([{ to: `${path}.damaged` }]);
      expect(existsSync(`${path}.damaged`), what).toBe(true);
      expect(readAll(new FileKeeper({ path, limitBytes, waitMs: 0 })).shown, what).toEqual([shown(passage(900))]);
    }
  });

  it('reports that it was set aside, and is used again', async () => {
    const path = fresh();
    keep(path, numbers(300));
    truncateSync(path, 20_000);
    const events = await withFile(path, async (file) => {
      await loaded(file);
      file.put(passage(900));
    });
    expect(events).toMatchObject([{ kind: 'set-aside', to: `${path}.damaged` }]);
    expect((await contents(path)).shown).toEqual([shown(passage(900))]);
  });

  it('starts anew where the file is empty', async () => {
    const path = fresh();
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, '');
    expect(await filled(path, [1])).toEqual([]);
    expect((await contents(path)).shown).toEqual([shown(passage(1))]);
  });

  it('drops entries whose bytes are not what was written, and keeps the rest', async () => {
    const path = fresh();
    await filled(path, numbers(200), 3000);
    const bytes = readFileSync(path);
    const at = bytes.indexOf(passage(77, 3000).value.subarray(1000, 1100));
    write(path, at, Buffer.from([bytes[at]! ^ 1]));
    const { shown: found, events } = await contents(path);
    expect(events).toEqual([{ kind: 'damaged', entries: 1 }]);
    expect(found).toEqual(
      numbers(200)
        .filter((i) => i !== 77)
        .map((i) => shown(passage(i, 3000))),
    );
    expect(await contents(path)).toMatchObject({ events: [], shown: found });
  });

  it('is made anew where it was deleted while in use', async () => {
    const path = fresh();
    const events = await withFile(path, async (file) => {
      file.put(passage(1));
      await file.flush();
      rmSync(path);
      file.put(passage(2));
      await file.flush();
      file.put(passage(3));
    });
    expect(events).toEqual([{ kind: 'failed', reason: 'the file was deleted or replaced' }, { kind: 'recovered' }]);
    expect((await contents(path)).shown).toEqual([shown(passage(3))]);
  });

  it('reports a full disk and goes on', async () => {
    const path = fresh();
    // 64 KiB blocks of 1,024 bytes: the log is full after some passages.
    const { started, lines } = writer(path, { bytes: 34_000, fileLimit: 1024 });
    let [failed, later] = ['', 0];
    while (later < 3) {
      const { value } = await lines.next();
      const line = String(value);
      if (line.includes('"failed"')) failed = line;
      else if (failed && line.includes('"unwritten"')) later++;
    }
    await killed(started);
    expect(JSON.parse(failed)).toMatchObject({ kind: 'failed', reason: expect.stringMatching(/disk/) });
    const { shown: found, events } = await contents(path);
    expect(events).toEqual([]);
    expect(found.length).toBeGreaterThan(0);
    expect(found).toEqual(found.map((_, i) => shown(passage(i, 34_000))));
  }, 20_000);

  it('gives back right entries or none, whatever bytes are damaged', () => {
    const own = new Set(numbers(60).map((i) => shown(passage(i))));
    const written = new Set(numbers(300).map((i) => shown(passage(i))));
    const change = fc.record({ part: fc.double({ min: 0, max: 1, noNaN: true }), byte: fc.nat(255) });
    const survives = (changes: readonly { readonly part: number; readonly byte: number }[]) => {
      const path = fresh();
      keep(path, numbers(60));
      const { length } = readFileSync(path);
      for (const { part, byte } of changes) write(path, Math.floor(part * (length - 1)), Buffer.from([byte]));
      const keeper = new FileKeeper({ path, limitBytes, waitMs: 0 });
      const first = readAll(keeper);
      // A damaged header may say that something else made the file, which then stays as it is.
      if (first.fault === 'foreign') return;
      expect(first.shown.filter((one) => !own.has(one))).toEqual([]);
      for (const more of [100, 200]) {
        try {
          keeper.run(writing(numbers(60, more)));
        } catch (error) {
          expect(error).toMatchObject({ fault: 'damaged' });
        }
      }
      keeper.run({ kind: 'close' });
      const then = readAll(new FileKeeper({ path, limitBytes, waitMs: 0 })).shown;
      expect(then).toContain(shown(passage(259)));
      expect(then.filter((one) => !written.has(one))).toEqual([]);
    };
    fc.assert(fc.property(fc.array(change, { minLength: 1, maxLength: 60 }), survives), { numRuns: 15 });
  });
});

const writing = (places: readonly number[]): FileCall => ({
  kind: 'write',
  passages: packPassages(places.map((i) => passage(i))),
  forget: new Uint8Array(),
});

/** Writes a file in this thread. */
function keep(path: string, places: readonly number[]): void {
  const keeper = new FileKeeper({ path, limitBytes, waitMs: 0 });
  keeper.run(writing(places));
  keeper.run({ kind: 'close' });
}

/** Reads a file in this thread; what is damaged on the way is replaced. */
function readAll(keeper: FileKeeper) {
  const all: string[] = [];
  try {
    keeper.run({ kind: 'open' });
    const { aside, spaces } = keeper.facts();
    let read = keeper.run({ kind: 'read', spaces, from: undefined, bytes: 100_000 });
    while (read) {
      all.push(...[...unpackPassages(read.passages)].map(shown));
      read = read.next && keeper.run({ kind: 'read', spaces, from: read.next, bytes: 100_000 });
    }
    return { shown: all, aside };
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return { shown: all, fault: error.fault, aside: keeper.facts().aside };
  }
}

function write(path: string, at: number, bytes: Uint8Array): void {
  const file = openSync(path, 'r+');
  writeSync(file, bytes, 0, bytes.length, at);
  closeSync(file);
}
