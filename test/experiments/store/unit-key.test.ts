import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keyedDigest, unitHash } from '../../../src/experiments/assignment/units.ts';
import { openStore } from '../../../src/experiments/store/store.ts';

let folder: string;
let database: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'winnow-key-'));
  database = join(folder, 'experiments.sqlite');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function keyOf(target: string): Promise<string> {
  const store = await openStore(target);
  try {
    return await store.secret();
  } finally {
    await store.close();
  }
}

const filesWith = (text: string) =>
  readdirSync(folder).filter((file) => readFileSync(join(folder, file)).includes(text));

/** A database as it was before the key had a file of its own. */
async function oldDatabase(key: string): Promise<void> {
  await (await openStore(database)).close();
  const db = new DatabaseSync(database);
  db.prepare("INSERT INTO winnow_secrets (name, value) VALUES ('unit', ?)").run(key);
  db.close();
}

describe('the key of unit hashes', () => {
  it('is in a file beside the SQLite database that only its owner may read, and nowhere else', async () => {
    const key = await keyOf(database);
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(statSync(`${database}.key`).mode & 0o777).toBe(0o600);
    expect(filesWith(key)).toEqual(['experiments.sqlite.key']);
    expect(await keyOf(database)).toBe(key);
  });

  it('is moved out of a database that has it, so that stored hashes stay valid', async () => {
    const key = 'ab'.repeat(32);
    await oldDatabase(key);
    expect(await keyOf(database)).toBe(key);
    expect(readFileSync(`${database}.key`, 'utf8').trim()).toBe(key);
    expect(filesWith(key)).toEqual(['experiments.sqlite.key']);
    expect(unitHash(await keyOf(database), 'u1')).toBe(unitHash(key, 'u1'));
  });

  it('is the same for servers that start at once', async () => {
    const keys = await Promise.all(Array.from({ length: 8 }, () => keyOf(database)));
    expect(new Set(keys).size).toBe(1);
    expect(readdirSync(folder).filter((file) => file.endsWith('.tmp'))).toEqual([]);
  });

  it('is refused where file and database hold different ones, or the file is empty', async () => {
    await oldDatabase('ab'.repeat(32));
    writeFileSync(`${database}.key`, 'cd'.repeat(32));
    await expect(keyOf(database)).rejects.toThrow(/experiments\.sqlite\.key.*another/);
    writeFileSync(`${database}.key`, '');
    await expect(keyOf(database)).rejects.toThrow(/empty/);
  });

  it('of a database in memory needs no file', async () => {
    const store = await openStore(':memory:');
    expect(await store.secret()).toBe(await store.secret());
    await store.close();
    expect(existsSync(':memory:.key')).toBe(false);
  });
});

describe('passage digests', () => {
  it('cannot be made without the key', () => {
    expect(keyedDigest('a', '2d711642b726b044')).toMatch(/^[0-9a-f]{16}$/);
    expect(keyedDigest('a', '2d711642b726b044')).not.toBe(keyedDigest('b', '2d711642b726b044'));
  });
});
