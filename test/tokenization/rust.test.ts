import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asReadByRust } from '../../src/tokenization/json-number.ts';
import { type LoadedTokenizer, loadTokenizer } from '../../src/tokenization/load.ts';
import { readTokenizerFolder } from '../../src/tokenization/tokenizer-folder.ts';
import { hasShared } from './corpora.ts';
import { blockTexts, checksum, gold, members, tokenizerJson } from './rust-gold.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'winnow-rust-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

async function load(definition: (typeof gold.definitions)[number]): Promise<LoadedTokenizer['encodeText']> {
  await writeFile(join(scratch, 'tokenizer.json'), JSON.stringify(tokenizerJson(definition)));
  await writeFile(join(scratch, 'config.json'), JSON.stringify({ pad_token_id: 0 }));
  return (await loadTokenizer(scratch)).encodeText;
}

const checksums = (joined: string) => joined.match(/.{8}/g) ?? [];

describe.each(gold.definitions)('$name', (definition) => {
  it('gives random texts the ids of the Rust library', async () => {
    const encode = await load(definition);
    const groups = checksums(definition.ids).map((crc, i) => ({
      crc,
      texts: gold.texts.slice(i * gold.group).slice(0, gold.group),
    }));
    expect(groups.flatMap(({ texts }) => texts)).toEqual(gold.texts);
    expect(groups.filter(({ crc, texts }) => checksum(encode, texts) !== crc)).toEqual([]);
  });

  const { sweep } = definition;
  if (sweep === undefined) return;

  it('gives every code point the ids of the Rust library, but for those listed', async () => {
    const encode = await load(definition);
    const [differs, blocks] = [members(sweep.differs), checksums(sweep.blocks)];
    expect(blocks).toHaveLength(0x110000 / gold.block);
    expect(blocks.map((_, b) => checksum(encode, blockTexts(b, differs)))).toEqual(blocks);
    // A list that is no longer needed is noticed.
    const listed = Object.entries(sweep.withPins);
    const still = listed.filter(([b, crc]) => checksum(encode, blockTexts(Number(b), new Set())) !== crc);
    expect(still.length > 0).toBe(listed.length > 0);
  });
});

/** Returns a folder of the project or beside it; for a SentencePiece model one with its tokenizer.json. */
async function folderOf(name: string): Promise<string> {
  const folder = join(import.meta.dirname, '../..', name.startsWith('shared/') ? '..' : '', name);
  if (!existsSync(join(folder, 'spm.model'))) return folder;
  const { unmatched: _unmatched, ...raw } = (await readTokenizerFolder(folder)).definition.raw;
  await writeFile(join(scratch, 'tokenizer.json'), JSON.stringify(raw));
  return scratch;
}

describe.each(gold.folders)('$name', ({ name, ids, sweep }) => {
  it.skipIf(name.startsWith('shared/') && !hasShared)(
    'gives random texts and every code point the ids of the Rust library (needs ../shared, but for our own)',
    async () => {
      const { encodeText } = await loadTokenizer(await folderOf(name));
      const groups = checksums(ids).map((_, i) => gold.texts.slice(i * gold.group).slice(0, gold.group));
      expect(groups.map((texts) => checksum(encodeText, texts)).join('')).toBe(ids);
      const blocks = checksums(sweep.blocks);
      expect(blocks.map((_, b) => checksum(encodeText, blockTexts(b, new Set())))).toEqual(blocks);
    },
  );
});

it('scores are read from JSON as the Rust library reads them', () => {
  expect(asReadByRust(-3.5)).toBe(-3.5);
  expect(asReadByRust(0)).toBe(0);
  // 9.180752754211426 is 9180752754211426 / 10^15; longer numbers are rounded twice.
  fc.assert(
    fc.property(fc.double({ min: -50, max: 0, noNaN: true }), (score) => {
      const read = asReadByRust(score);
      expect(Math.abs(read - score)).toBeLessThanOrEqual(Math.abs(score) * 2 ** -51);
    }),
  );
});
