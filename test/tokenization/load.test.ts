import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { AutoTokenizer, env } from '@huggingface/transformers';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { loadTokenizer } from '../../src/tokenization/load.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import type { PairOptions } from '../../src/tokenization/tokenization-types.ts';
import { corpusTexts, hasShared, SHARED, SHIPPED, sampled, TOKENIZERS } from './corpora.ts';

const LONG: PairOptions = {
  maxLength: 8192,
  maxQueryTokens: 4096,
  truncation: 'longest_first',
  side: 'right',
  longPassages: 'truncate',
  windowOverlap: 0,
};

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'winnow-tokenizer-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

let made = 0;
/** A folder of these files; objects are written as JSON. */
async function folderOf(files: Readonly<Record<string, unknown>>): Promise<string> {
  const folder = join(scratch, String(made++));
  await mkdir(folder);
  for (const [name, content] of Object.entries(files))
    await writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  return folder;
}

describe.skipIf(!hasShared)('real vocabularies (needs ../shared)', () => {
  it.each([
    ['bert-uncased', 'wordpiece', 0, { prefix: [101], middle: [102], suffix: [102], secondType: 1 }],
    ['roberta', 'byte-level-bpe', 1, { prefix: [0], middle: [2, 2], suffix: [2], secondType: 0 }],
    ['modernbert', 'byte-level-bpe', 50283, { prefix: [50281], middle: [50282], suffix: [50282], secondType: 0 }],
    ['deberta-v3', 'unigram', 0, { prefix: [1], middle: [2], suffix: [2], secondType: 1 }],
  ] as const)('%s: family, padding and template', async (name, family, padId, template) => {
    expect(await loadTokenizer(join(TOKENIZERS, name))).toMatchObject({ family, padId, template });
  });

  it.each([
    [TOKENIZERS, 'bert-uncased'],
    [TOKENIZERS, 'modernbert'],
    [join(SHARED, 'backbones'), 'all-minilm-l6-v2'],
    [join(SHARED, 'models'), 'minilm-l6-reference'],
  ])('%s/%s: pairs are those of AutoTokenizer, untouched by truncation and padding in the file', async (root, name) => {
    env.allowRemoteModels = false;
    env.localModelPath = root;
    const auto = await AutoTokenizer.from_pretrained(name);
    const pairs = await createLocalTokenizer(join(root, name));
    const texts = sampled(corpusTexts('xquad-en'), 20);
    const long = sampled(corpusTexts('xquad-en'), 200).join(' ');
    for (const passage of [...texts, long]) {
      const { rows } = await pairs.encode(texts[0]!, [passage], LONG);
      const expected = auto(texts[0]!, { text_pair: passage, return_tensor: false, return_token_type_ids: true });
      const types = expected.token_type_ids as unknown as number[];
      expect([...rows[0]!.ids]).toEqual(expected.input_ids as unknown as number[]);
      expect(rows[0]!.secondSegment).toBe(types.includes(1) ? types.indexOf(1) : types.length);
    }
    expect((await pairs.encode('a', [long], LONG)).tokens).toBeGreaterThan(500);
  });

  it('tokens before the passage that have its type belong to it, as in AutoTokenizer', async () => {
    const folder = await folderOf({});
    await cp(join(TOKENIZERS, 'bert-uncased'), folder, { recursive: true });
    const definition = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8')) as {
      model: { vocab: Record<string, number> };
      post_processor: unknown;
    };
    const { vocab } = definition.model;
    const token = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } });
    const text = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
    const special = ['[CLS]', '[SEP]', 'query', 'passage', ':'].map((id) => [
      id,
      { id, ids: [vocab[id]], tokens: [id] },
    ]);
    definition.post_processor = {
      type: 'TemplateProcessing',
      single: [token('[CLS]', 0), text('A', 0), token('[SEP]', 0)],
      pair: [
        ...[token('[CLS]', 0), token('query', 0), token(':', 0), text('A', 0), token('[SEP]', 0)],
        ...[token('passage', 1), token(':', 1), text('B', 1), token('[SEP]', 1)],
      ],
      special_tokens: Object.fromEntries(special),
    };
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(definition));
    env.allowRemoteModels = false;
    env.localModelPath = scratch;
    const auto = await AutoTokenizer.from_pretrained(basename(folder));
    const expected = auto('who?', { text_pair: 'a b', return_tensor: false, return_token_type_ids: true });
    const types = expected.token_type_ids as unknown as number[];
    const { rows } = await (await createLocalTokenizer(folder)).encode('who?', ['a b'], LONG);
    expect([...rows[0]!.ids]).toEqual(expected.input_ids as unknown as number[]);
    expect(rows[0]!.secondSegment).toBe(types.indexOf(1));
    expect(rows[0]!.ids[types.indexOf(1)]).toBe(vocab.passage);
  });

  it('a WordPiece vocabulary without tokenizer.json gives the same ids', async () => {
    const source = join(TOKENIZERS, 'bert-uncased');
    const folder = await folderOf({});
    await cp(join(source, 'vocab.txt'), join(folder, 'vocab.txt'));
    const [plain, whole] = [await loadTokenizer(folder), await loadTokenizer(source)];
    expect(plain.template).toEqual(whole.template);
    for (const text of sampled(corpusTexts('xquad-en'), 100))
      expect([...plain.encodeText(text)]).toEqual([...whole.encodeText(text)]);
  });

  it('tokenizers that differ in framing, truncation and padding alone share a text key', async () => {
    const [a, b, c] = await Promise.all(
      [join(TOKENIZERS, 'bert-uncased'), join(SHARED, 'models/minilm-l6-reference'), join(TOKENIZERS, 'roberta')].map(
        loadTokenizer,
      ),
    );
    expect(a!.textKey).toBe(b!.textKey);
    expect(a!.textKey).not.toBe(c!.textKey);
  });
});

/** The smallest tokenizer.json that loads; tests break it in one place each. */
function minimal() {
  return {
    model: {
      type: 'WordPiece',
      vocab: { '[PAD]': 0, '[UNK]': 1, '[CLS]': 2, '[SEP]': 3, a: 4 } as Record<string, unknown>,
      unk_token: '[UNK]',
    } as Record<string, unknown>,
    normalizer: { type: 'BertNormalizer', lowercase: true } as object | null,
    pre_tokenizer: { type: 'BertPreTokenizer' } as object | null,
    post_processor: { type: 'BertProcessing', cls: ['[CLS]', 2], sep: ['[SEP]', 3] } as object | null,
    added_tokens: [{ id: 2, content: '[CLS]', special: true, normalized: false }] as unknown,
  };
}

type Minimal = ReturnType<typeof minimal>;

async function failure(files: Readonly<Record<string, unknown>>): Promise<WinnowError> {
  const error = await loadTokenizer(await folderOf(files)).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(WinnowError);
  return error as WinnowError;
}

describe('hostile folders', () => {
  it('the smallest tokenizer loads', async () => {
    const { encodeText, template } = await loadTokenizer(await folderOf({ 'tokenizer.json': minimal() }));
    expect([...encodeText('A b [CLS]')]).toEqual([4, 1, 2]);
    expect(template).toEqual({ prefix: [2], middle: [3], suffix: [3], secondType: 1 });
  });

  it.each<[string, (json: Minimal) => void, string]>([
    ['no model', (j) => Object.assign(j, { model: undefined }), 'model'],
    ['a model of no known type', (j) => Object.assign(j.model, { type: 'Magic' }), 'model.type'],
    ['no vocabulary', (j) => Object.assign(j.model, { vocab: undefined }), 'model.vocab'],
    ['an empty vocabulary', (j) => Object.assign(j.model, { vocab: {} }), 'model.vocab'],
    ['an id that is text', (j) => Object.assign(j.model.vocab!, { a: '4' }), 'model.vocab["a"]'],
    ['a negative id', (j) => Object.assign(j.model.vocab!, { a: -4 }), 'model.vocab["a"]'],
    ['no unknown token', (j) => Object.assign(j.model, { unk_token: '[NOPE]' }), 'model.vocab'],
    ['an unknown token that is a number', (j) => Object.assign(j.model, { unk_token: 7 }), 'model.unk_token'],
    ['added tokens that are no list', (j) => Object.assign(j, { added_tokens: 'x' }), 'added_tokens'],
    ['an added token without text', (j) => Object.assign(j, { added_tokens: [{ id: 1 }] }), 'added_tokens.0.content'],
    ['a normalizer that is text', (j) => Object.assign(j, { normalizer: 'NFC' }), 'normalizer'],
    ['a switch that is text', (j) => Object.assign(j.normalizer!, { lowercase: 'yes' }), 'normalizer.lowercase'],
    ['no post-processor and no names', (j) => Object.assign(j, { post_processor: null }), 'post_processor'],
    ['an unknown post-processor', (j) => Object.assign(j.post_processor!, { type: 'Odd' }), 'post_processor.type'],
    ['a separator without id', (j) => Object.assign(j.post_processor!, { sep: ['[SEP]'] }), 'post_processor.sep'],
    ['no pad token', (j) => delete (j.model.vocab as Record<string, unknown>)['[PAD]'], 'added_tokens'],
    [
      'a template in the wrong order',
      (j) => {
        const sequence = (id: string) => ({ Sequence: { id, type_id: 0 } });
        j.post_processor = { type: 'TemplateProcessing', pair: [sequence('B'), sequence('A')], special_tokens: {} };
      },
      'post_processor.pair',
    ],
    [
      'a template with an unknown token',
      (j) => {
        const pair = ['A', 'B'].map((id) => ({ Sequence: { id, type_id: 0 } }));
        const unknown = { SpecialToken: { id: '<?>', type_id: 0 } };
        j.post_processor = { type: 'TemplateProcessing', pair: [...pair, unknown], special_tokens: {} };
      },
      'post_processor.special_tokens.<?>',
    ],
    ['merges of one part', (j) => Object.assign(j.model, { type: 'BPE', merges: ['ab'] }), 'model.merges[0]'],
    [
      'a unigram vocabulary without scores',
      (j) => Object.assign(j.model, { type: 'Unigram', vocab: [['a', 'b']], unk_id: 0 }),
      'model.vocab[0]',
    ],
    [
      'an unknown id outside the vocabulary',
      (j) => Object.assign(j.model, { type: 'Unigram', vocab: [['a', -1]], unk_id: 1 }),
      'model.unk_id',
    ],
    ['an unknown pre-tokenizer', (j) => Object.assign(j, { pre_tokenizer: { type: 'Odd' } }), 'pre_tokenizer.type'],
  ])('%s: names file and field', async (_name, spoil, field) => {
    const json = minimal();
    spoil(json);
    const error = await failure({ 'tokenizer.json': json });
    expect(error.code).toBe('invalid_manifest');
    expect(error.params.file).toMatch(/tokenizer\.json$/);
    expect(error.params.field).toBe(field);
  });

  it.each([
    ['nothing', {}, 'tokenizer.json'],
    ['text that is no JSON', { 'tokenizer.json': '{"model": ' }, 'tokenizer.json'],
    ['a list', { 'tokenizer.json': [] }, 'tokenizer.json'],
    ['brackets 100,000 deep', { 'tokenizer.json': '['.repeat(100_000) }, 'tokenizer.json'],
    ['a broken config', { 'tokenizer.json': minimal(), 'tokenizer_config.json': '<html>' }, 'tokenizer_config.json'],
    [
      'a config of a wrong type',
      { 'tokenizer.json': minimal(), 'config.json': { type_vocab_size: 'two' } },
      'config.json',
    ],
    [
      'a special token of a wrong type',
      { 'tokenizer.json': minimal(), 'special_tokens_map.json': { pad_token: 3 } },
      'special_tokens_map.json',
    ],
    ['an spm.model that is text', { 'spm.model': 'not a protobuf at all' }, 'spm.model'],
    ['an empty spm.model', { 'spm.model': '' }, 'spm.model'],
    ['vocab.json without special tokens', { 'vocab.json': { a: 0 }, 'merges.txt': '' }, 'vocab.json'],
    ['a list for vocab.json', { 'vocab.json': [], 'merges.txt': '' }, 'vocab.json'],
    ['vocab.txt without special tokens', { 'vocab.txt': 'a\nb\n' }, 'vocab.txt'],
  ])('%s: refused with the name of the file', async (_name, files, file) => {
    const error = await failure(files);
    expect(error.code).toBe('invalid_manifest');
    expect(String(error.params.file)).toContain(file);
  });

  it.each([
    [
      'deep nesting',
      { normalizer: JSON.parse(`${'{"type":"Sequence","normalizers":['.repeat(80)}${']}'.repeat(80)}`) },
    ],
    [
      'a flood of added tokens',
      { added_tokens: Array.from({ length: 60_000 }, () => ({ id: 'x', content: 1, a: 2 })) },
    ],
  ])('%s is refused before it is looked at closely', async (_name, spoil) => {
    const error = await failure({ 'tokenizer.json': { ...minimal(), ...spoil } });
    expect(error.message).toContain('at most 200000 values, 64 deep');
  });

  it('files too large are refused unread', async () => {
    const large = ' '.repeat(33 * 1024 * 1024);
    expect((await failure({ 'tokenizer.json': large })).message).toMatch(
      /tokenizer\.json: expected at most 33554432 bytes/,
    );
    expect((await failure({ 'config.json': large })).message).toMatch(/config\.json: expected at most 8388608 bytes/);
  });

  it('a folder in the place of the file, and a folder that is not there', async () => {
    const folder = await folderOf({});
    await mkdir(join(folder, 'tokenizer.json'));
    await expect(loadTokenizer(folder)).rejects.toMatchObject({ code: 'invalid_manifest' });
    await expect(loadTokenizer(join(scratch, 'nowhere'))).rejects.toMatchObject({ code: 'invalid_manifest' });
  });

  it('a cut-off spm.model is refused at any length', async () => {
    if (!hasShared) return;
    const bytes = await readFile(join(TOKENIZERS, 'deberta-v3/spm.model'));
    for (const length of [1, 17, 1000, 1_500_001, bytes.length - 100_001]) {
      const folder = await folderOf({});
      await writeFile(join(folder, 'spm.model'), bytes.subarray(0, length));
      await expect(loadTokenizer(folder)).rejects.toMatchObject({ code: 'invalid_manifest' });
    }
  });

  it('special tokens named by the config frame pairs where the file has no post-processor', async () => {
    const json = { ...minimal(), post_processor: null };
    const names = { cls_token: '[CLS]', sep_token: { content: '[SEP]' }, pad_token: '[PAD]' };
    const folder = await folderOf({ 'tokenizer.json': json, 'tokenizer_config.json': names });
    expect((await loadTokenizer(folder)).template).toEqual({ prefix: [2], middle: [3], suffix: [3], secondType: 1 });
  });

  it('models of one token type have none but type 0', async () => {
    const folder = await folderOf({ 'tokenizer.json': minimal(), 'config.json': { type_vocab_size: 1 } });
    expect((await loadTokenizer(folder)).template.secondType).toBe(0);
  });

  it('tokens that a model folder calls __proto__ or constructor are tokens', async () => {
    const json = JSON.stringify(minimal()).replace('"a":4', '"__proto__":4,"constructor":5');
    const { encodeText } = await loadTokenizer(await folderOf({ 'tokenizer.json': json }));
    expect([...encodeText('constructor toString')]).toEqual([5, 1]);
  });
});

describe('tokens that settings files name', () => {
  const config = {
    tokenizer_class: 'TokenizersBackend',
    backend: 'tokenizers',
    model_max_length: 1e30,
    cls_token: '[CLS]',
    sep_token: '[SEP]',
  };
  const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'x', 'a', '<|a|>', '<|b|>', '<|c|>'];

  it.each<[string, object]>([
    ['a list', { extra_special_tokens: ['<|a|>', '<|b|>'] }],
    ['a map', { extra_special_tokens: { image_token: '<|a|>', other: { content: '<|b|>' } } }],
    ['the older list', { additional_special_tokens: ['<|a|>', { content: '<|b|>', lstrip: false }] }],
    ['the decoder', { added_tokens_decoder: { 6: { content: '<|a|>', special: true }, 7: { content: '<|b|>' } } }],
    ['a name of its own', { mask_token: '<|a|>', bos_token: { content: '<|b|>' } }],
  ])('%s: are never split, with a vocabulary alone and with a tokenizer.json', async (_name, named) => {
    const json = minimal();
    json.model.vocab = Object.fromEntries(words.map((word, id) => [word, id]));
    for (const files of [{ 'vocab.txt': words.join('\n') }, { 'tokenizer.json': json }]) {
      const folder = await folderOf({ ...files, 'tokenizer_config.json': { ...config, ...named } });
      const { encodeText } = await loadTokenizer(folder);
      expect([...encodeText('x<|a|>a<|b|> <|c|>')].slice(0, 4)).toEqual([4, 6, 5, 7]);
      expect([...encodeText('<|c|>')]).not.toContain(8);
      const map = await folderOf({ ...files, 'special_tokens_map.json': named });
      expect([...(await loadTokenizer(map)).encodeText('x<|a|>')]).toEqual([4, 6]);
    }
  });

  it('get the next id if the model has an embedding for it, and stay text otherwise', async () => {
    const named = { extra_special_tokens: ['a a', 'new'] };
    const files = { 'tokenizer.json': minimal(), 'tokenizer_config.json': named };
    const text = 'a a new';
    const ids = async (config: object) => [
      ...(await loadTokenizer(await folderOf({ ...files, ...config }))).encodeText(text),
    ];
    expect(await ids({ 'config.json': { vocab_size: 7 } })).toEqual([5, 6]);
    expect(await ids({ 'config.json': { vocab_size: 6 } })).toEqual([5, 1]);
    expect(await ids({})).toEqual([4, 4, 1]);
  });

  it('keep what the file says about blanks and words', async () => {
    const named = {
      extra_special_tokens: [
        { content: 'new', single_word: true },
        { content: '[A]', lstrip: true },
      ],
    };
    const folder = await folderOf({
      'tokenizer.json': minimal(),
      'tokenizer_config.json': named,
      'config.json': { vocab_size: 9 },
    });
    const { encodeText } = await loadTokenizer(folder);
    expect([...encodeText('a new renew a  [A]a')]).toEqual([4, 5, 1, 4, 6, 4]);
  });

  it.each([[3], [[3]], ['<|a|>'], [{ a: 3 }], [[{ lstrip: true }]]])('%j is refused', async (extra_special_tokens) => {
    const error = await failure({ 'tokenizer.json': minimal(), 'tokenizer_config.json': { extra_special_tokens } });
    expect(error.params.file).toMatch(/tokenizer_config\.json$/);
    expect(error.params.field).toMatch(/^extra_special_tokens/);
  });

  it('added tokens have the id of the vocabulary, else the next one, whatever the file says', async () => {
    const added = ['a', '[NEW]', '[OTHER]'].map((content) => ({ id: 99, content, special: true, normalized: false }));
    const folder = await folderOf({ 'tokenizer.json': { ...minimal(), added_tokens: added } });
    expect([...(await loadTokenizer(folder)).encodeText('a[OTHER][NEW]')]).toEqual([4, 6, 5]);
  });
});

describe('any damage to a tokenizer.json', () => {
  const bytes = Array.from({ length: 256 }, (_, b) => [String.fromCharCode(b < 33 ? 256 + b : b), b + 5] as const);
  const intact: readonly object[] = [
    minimal(),
    {
      ...minimal(),
      model: {
        type: 'BPE',
        vocab: { ...minimal().model.vocab!, ...Object.fromEntries(bytes), th: 300 },
        merges: ['t h'],
      },
      normalizer: { type: 'NFC' },
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, use_regex: true },
      post_processor: { type: 'RobertaProcessing', cls: ['[CLS]', 2], sep: ['[SEP]', 3] },
    },
    {
      ...minimal(),
      model: {
        type: 'Unigram',
        vocab: [
          ['[UNK]', 0],
          ['[PAD]', 0],
          ['\u2581a', -1],
          ['b', -2],
        ],
        unk_id: 0,
        byte_fallback: true,
      },
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Strip', strip_left: true, strip_right: true },
          { type: 'Precompiled', precompiled_charsmap: 'CAAAAAAAAAAAAAAAYQA=' },
          { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
        ],
      },
      pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Metaspace', replacement: '\u2581' }] },
    },
  ];

  /** Every place of a JSON value, as a path of keys. */
  function paths(value: unknown, at: readonly string[] = []): string[][] {
    const below = typeof value === 'object' && value !== null ? Object.entries(value) : [];
    return [[...at], ...below.flatMap(([key, part]) => paths(part, [...at, key]))];
  }

  function replaced(value: unknown, [key, ...rest]: readonly string[], by: unknown): unknown {
    if (key === undefined) return by;
    const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>;
    copy[key] = replaced(copy[key], rest, by);
    return copy;
  }

  const damage = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      undefined,
      '',
      '(',
      '[CLS]',
      'BPE',
      'Unigram',
      'Sequence',
      -1,
      1e308,
      0.5,
      1,
      [],
      {},
      [[]],
      true,
    ),
    fc.jsonValue({ maxDepth: 2 }),
  );
  const spoilt = fc.nat({ max: intact.length - 1 }).chain((i) => {
    const places = paths(intact[i]);
    return fc
      .tuple(fc.constantFrom(...places.filter((p) => p.length > 0)), damage)
      .map(([p, by]) => replaced(intact[i], p, by));
  });

  it('is none without damage', async () => {
    for (const json of intact) {
      const { encodeText } = await loadTokenizer(await folderOf({ 'tokenizer.json': json }));
      expect(encodeText('a [CLS] the b').length).toBeGreaterThan(2);
    }
  });

  it('either loads and gives whole ids, or is refused with a code', async () => {
    const folder = await folderOf({});
    await fc.assert(
      fc.asyncProperty(spoilt, async (json) => {
        await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(json));
        const loaded = await loadTokenizer(folder).catch((error: unknown) => error);
        if (loaded instanceof Error) {
          expect(loaded).toMatchObject({ name: 'WinnowError', code: 'invalid_manifest' });
          return;
        }
        const { encodeText, template } = loaded as Awaited<ReturnType<typeof loadTokenizer>>;
        const framed = [...template.prefix, ...template.middle, ...template.suffix];
        for (const id of [...encodeText('a [CLS]  thé b\u0000 🦙'), ...framed]) expect(id).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 500 },
    );
  });
});

describe.skipIf(!hasShared)('texts beyond a million characters are tokenized in pieces (needs ../shared)', () => {
  it.each(['bert-uncased', 'roberta', 'modernbert', 'deberta-v3'])('%s: with the ids of the whole', async (name) => {
    const { encodeText } = await loadTokenizer(join(TOKENIZERS, name));
    const words = 'Καλημέρα ΚΌΣΜΕ,  naïve  cafés (2024)\t中文 e\u0301 🦙 \n end. '.repeat(8);
    const long = words.repeat(Math.ceil(2_300_000 / words.length));
    const [once, twice] = [encodeText(words).length, encodeText(words + words).length];
    // Each repetition adds as much as the second one did.
    expect(encodeText(long).length).toBe(once + (twice - once) * (long.length / words.length - 1));
  });

  it('cuts between characters where there is no blank', async () => {
    const { encodeText } = await loadTokenizer(SHIPPED);
    const unknown = [...encodeText('🦙'.repeat(1_500_000))];
    expect(unknown.length).toBeLessThanOrEqual(3);
    expect(new Set(unknown).size).toBe(1);
  });
});

it('the shipped model loads', async () => {
  expect(await loadTokenizer(SHIPPED)).toMatchObject({ family: 'wordpiece', padId: 0 });
});

describe('do_lower_case of sentence_bert_config.json', () => {
  const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'oil', 'é', 'e'].join('\n');
  const idsOf = async (text: string, files: Readonly<Record<string, unknown>>) => {
    const pairs = await createLocalTokenizer(await folderOf({ 'vocab.txt': vocabulary, ...files }));
    const { rows } = await pairs.encode(text, ['oil'], LONG);
    return [...rows[0]!.ids];
  };
  const cased = { 'tokenizer_config.json': { tokenizer_class: 'BertTokenizer', do_lower_case: false } };
  const lower = { 'sentence_bert_config.json': { max_seq_length: 32, do_lower_case: true } };

  it('puts lower case before the normalizer of a cased tokenizer', async () => {
    expect(await idsOf('OIL É', cased)).toEqual([2, 1, 1, 3, 5, 3]);
    // Accents stay, as the normalizer of a cased tokenizer leaves them.
    expect(await idsOf('OIL É', { ...cased, ...lower })).toEqual([2, 5, 6, 3, 5, 3]);
  });

  it('has no effect on an uncased tokenizer, and none where it is false', async () => {
    const uncased = { 'tokenizer_config.json': { tokenizer_class: 'BertTokenizer', do_lower_case: true } };
    expect(await idsOf('OIL É', { ...uncased, ...lower })).toEqual(await idsOf('OIL É', uncased));
    const no = { 'sentence_bert_config.json': { do_lower_case: false } };
    expect(await idsOf('OIL', { ...cased, ...no })).toEqual([2, 1, 3, 5, 3]);
  });

  it('of another type is refused', async () => {
    await expect(idsOf('oil', { 'sentence_bert_config.json': { do_lower_case: 'yes' } })).rejects.toMatchObject({
      code: 'invalid_manifest',
      params: { field: 'do_lower_case' },
    });
  });
});

describe('added_tokens.json without tokenizer.json', () => {
  const vocab = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'oil'].join('\n');
  const load = async (added: unknown) =>
    createLocalTokenizer(await folderOf({ 'vocab.txt': vocab, 'added_tokens.json': added }));

  it('is fine where the vocabulary has its tokens', async () => {
    expect((await load({ '[MASK]': 4, oil: 5 })).padId).toBe(0);
    expect((await load({})).padId).toBe(0);
  });

  it.each([
    [{ '<gear>': 6 }, '<gear>'],
    [{ oil: 7 }, 'oil'],
    [{ oil: 'five' }, 'oil'],
    [[], '(whole file)'],
    [Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`t${i}`, i])), '(whole file)'],
  ])('%j is refused with the way out', async (added, field) => {
    await expect(load(added)).rejects.toMatchObject({
      code: 'invalid_manifest',
      params: { field, file: expect.stringContaining('added_tokens.json') },
    });
  });
});
