import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LoadedTokenizer, loadTokenizer } from '../../src/tokenization/load.ts';
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
