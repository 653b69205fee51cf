import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pairsWithin } from '../../src/registry/pair-limits.ts';
import { answerIds } from '../../src/tokenization/answer-tokens.ts';
import { BYTE_CHARACTERS } from '../../src/tokenization/byte-characters.ts';
import { loadTokenizer } from '../../src/tokenization/load.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import type { TextTokenizer } from '../../src/tokenization/tokenization-types.ts';
import { SPECIAL, writeByteTokenizer } from '../support/tiny-decoder.ts';

const TEMPLATE = {
  prefix: '<user>',
  body: 'Do {instruction}\nQ: {query}\nD: {document}',
  suffix: '<end>!',
  instruction: 'ab',
};

let root = '';
let tokenizer: TextTokenizer;
let encodeText: (text: string) => Int32Array;

/** Writes a folder with a byte-level tokenizer, whose words end where GPT-2's do. */
async function folderOf(
  name: string,
  manifest: object,
  config: object = { model_type: 'qwen3', architectures: ['Qwen3ForCausalLM'] },
): Promise<string> {
  const folder = join(root, name);
  await writeByteTokenizer(folder);
  await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, pad_token_id: 0 }));
  await writeFile(join(folder, 'model.json'), JSON.stringify({ format: 1, ...manifest }));
  return folder;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'template-'));
  const folder = await folderOf('plain', { template: TEMPLATE });
  tokenizer = await createLocalTokenizer(folder);
  encodeText = (await loadTokenizer(folder)).encodeText;
});
afterAll(async () => {
  await tokenizer.close();
  await rm(root, { recursive: true, force: true });
});

const limits = (maxLength: number) => pairsWithin({ maxLength, truncation: 'only_second' });
const filled = (query: string, passage: string, instruction = 'ab') => `Do ${instruction}\nQ: ${query}\nD: ${passage}`;
const joint = (text: string) => [...encodeText('<user>'), ...encodeText(text), ...encodeText('<end>!')];
const text = fc.string({ unit: fc.constantFrom('a', 'b', 'w', ' ', '?', '\n', '.', 'é', '7'), maxLength: 12 });
const word = text.map((some) => `w${some}`);

describe('a template of texts', () => {
  it('gives the ids of the whole text', async () => {
    await fc.assert(
      fc.asyncProperty(text, fc.array(text, { maxLength: 4 }), word, async (query, passages, instruction) => {
        const { rows, tokens } = await tokenizer.encode(query, passages, { ...limits(500), instruction });
        expect(rows.map(({ ids }) => [...ids])).toEqual(passages.map((p) => joint(filled(query, p, instruction))));
        expect(tokens).toBe(rows.reduce((sum, { ids }) => sum + ids.length, 0));
      }),
    );
  });

  it('is never cut: the passage is, from its end, and then the query', async () => {
    const [query, passage] = ['a?', 'w ab cd w ab cd'];
    const uncut = joint(filled(query, passage));
    const end = encodeText('<end>!').length;
    const head = joint(filled(query, '')).length - end;
    for (let maxLength = head + 2 + end; maxLength < uncut.length; maxLength++) {
      const { rows, truncated, queryCut, fullLengths } = await tokenizer.encode(query, [passage], limits(maxLength));
      expect([...rows[0]!.ids]).toEqual([...uncut.slice(0, maxLength - end), ...uncut.slice(-end)]);
      expect([truncated, queryCut[0], fullLengths[0]]).toEqual([[true], 0, uncut.length]);
    }
    // Query and passage begin with their space, which is their one token here.
    const least = joint(filled('', '')).length;
    const { rows, queryCut } = await tokenizer.encode('a w w w w', ['w ab'], limits(least));
    expect(rows[0]!.ids.length).toBe(least);
    expect([...rows[0]!.ids].slice(0, 1)).toEqual([1]);
    expect([...rows[0]!.ids].slice(-end)).toEqual([...encodeText('<end>!')]);
    expect(queryCut[0]).toBeGreaterThan(0);
    await expect(tokenizer.encode('a', ['w'], limits(least - 1))).rejects.toThrow(/maxLength/);
  });

  it('keeps the text around a query that is limited', async () => {
    const { rows, queryCut } = await tokenizer.encode('ab ab ab?', ['w'], { ...limits(100), maxQueryTokens: 1 });
    expect([...rows[0]!.ids]).toEqual(joint(filled('ab', 'w')));
    expect(queryCut[0]).toBe(3);
  });

  it('stands around every window', async () => {
    const passage = 'ab '.repeat(60);
    const { rows, passageOf } = await tokenizer.encode('ab', [passage, 'w'], {
      ...limits(60),
      longPassages: 'max',
    });
    expect(passageOf.at(-1)).toBe(1);
    const head = joint(filled('ab', '')).slice(0, -encodeText('<end>!').length - 1);
    for (const { ids } of rows) {
      expect(ids.length).toBeLessThanOrEqual(60);
      expect([...ids].slice(0, head.length)).toEqual(head);
      expect([...ids].slice(-2)).toEqual([...encodeText('<end>!')]);
    }
  });

  it('puts the text after the document before the suffix', async () => {
    const body = 'Q: {query} D: {document}\nRight?';
    const folder = await folderOf('after', { template: { ...TEMPLATE, body } });
    const after = await createLocalTokenizer(folder);
    const { rows } = await after.encode('ab', ['w'], { ...limits(100), instruction: 'unused' });
    expect([...rows[0]!.ids]).toEqual(joint('Q: ab D: w\nRight?'));
    await after.close();
  });

  it('is left out for a decoder that reads pairs, whose texts are joined as they are', async () => {
    const pairs = await createLocalTokenizer(await folderOf('pairs', { template: 'pair' }));
    const { rows } = await pairs.encode('ab', ['w?'], limits(100));
    expect([...rows[0]!.ids]).toEqual([...encodeText('ab'), ...encodeText('w?')]);
    await pairs.close();
  });

  it('is refused where it lacks a place, by file and field', async () => {
    const folder = await folderOf('bad', { template: { ...TEMPLATE, body: '{query}' } });
    await expect(createLocalTokenizer(folder)).rejects.toThrow(/model\.json.*\{document\} once each/);
  });
});

describe('the answers of a language model', () => {
  it('are the tokens that its family or model.json names', async () => {
    expect(await answerIds(await folderOf('family', {}))).toEqual({ yes: 3, no: 4 });
    expect(await answerIds(await folderOf('stated', { trueToken: 'no', falseToken: '<end>' }))).toEqual({
      yes: 4,
      no: 2,
    });
    const ids = {
      yes: SPECIAL.length + BYTE_CHARACTERS.indexOf('1'),
      no: SPECIAL.length + BYTE_CHARACTERS.indexOf('0'),
    };
    expect(
      await answerIds(
        await folderOf('mxbai-rerank-base-v2', {}, { model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'] }),
      ),
    ).toEqual(ids);
  });

  it('must be tokens', async () => {
    const folder = await folderOf('absent', { trueToken: 'perhaps' });
    await expect(answerIds(folder)).rejects.toThrow(/a token "perhaps" \(or another `trueToken` in model\.json\)/);
  });
});
