import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';

const SHARED = join(import.meta.dirname, '..', '..', '..', 'shared', 'tokenizers');
const folders = ['bert-uncased', 'roberta', 'modernbert', 'deberta-v3'];
const missing = folders.filter((name) => !existsSync(join(SHARED, name)));

/** Texts of the tokens of each text. */
async function textsOf(name: string, ...sent: readonly string[]): Promise<readonly (readonly string[])[]> {
  const tokenizer = await createLocalTokenizer(join(SHARED, name));
  const { texts, spelling } = await tokenizer.tokens(sent, { special: true, atMost: 1000 });
  return texts.map(({ ids }) => Array.from(ids, (id) => spelling.get(id)!));
}

describe.skipIf(missing.length > 0)(`texts of tokens (needs ${missing.join(', ') || 'nothing'} in ../shared)`, () => {
  it('are those of the vocabulary without its marks', async () => {
    const bert = [['[CLS]', 'em', 'bed', 'ding', 's', '[MASK]', '[SEP]']];
    expect(await textsOf('bert-uncased', 'Embeddings [MASK]')).toEqual(bert);
    expect(await textsOf('deberta-v3', 'Hello world')).toEqual([['[CLS]', ' Hello', ' world', '[SEP]']]);
  });

  it.each([
    ['roberta', '<s>', '</s>'],
    ['modernbert', '[CLS]', '[SEP]'],
  ])('of bytes are the text, and U+FFFD for a part of a character: %s', async (name, before, after) => {
    const text = 'A tab,\tand 3.14 - a caf\u00e9';
    const [hello, whole, sign] = await textsOf(name, 'Hello world', text, '\u{13300}');
    expect(hello).toEqual([before, 'Hello', ' world', after]);
    expect(whole!.slice(1, -1).join('')).toBe(text);
    expect(sign!.slice(1, -1).join('')).toMatch(/^\uFFFD+$/);
  });
});
