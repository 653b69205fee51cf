import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { encodeModel } from '../../src/onnx/protobuf-write.ts';
import { float32, tensor } from '../../src/onnx/tensor.ts';

/*
 * Model folders that must not hurt a server. Each is a small export of which one thing is wrong.
 */

const LETTERS = [...'abcdefghijklmnopqrstuvwxyz'];
const VOCABULARY = [
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  '[MASK]',
  ...LETTERS,
  ...LETTERS.map((letter) => `##${letter}`),
];

type Graph = (g: GraphBuilder, score: string, ids: string) => string;

/** A graph that scores a row by the masked mean of one number a token; `change` gets that score, [batch, 1], and returns another. */
function graph(change: Graph = (_g, score) => score, input = 'input_ids'): Uint8Array {
  const g = new GraphBuilder('hostile');
  const ids = g.input(input, 'int64', ['batch', 'sequence']);
  const mask = g.input('attention_mask', 'int64', ['batch', 'sequence']);
  const values = VOCABULARY.map((_, i) => ((i * 7919) % 80) / 10 - 4);
  const embedded = g.op('Gather', [g.initializer('table', float32([VOCABULARY.length, 1], values)), ids], { axis: 0 });
  const weight = g.op('Unsqueeze', [g.cast(mask, 'float32'), g.ints([2])]);
  const sum = g.reduceSum(g.op('Mul', [embedded, weight]), [1], false);
  const mean = g.op('Div', [sum, g.reduceSum(weight, [1], false)]);
  g.output(change(g, mean, ids), 'float32', ['batch', 1], 'logits');
  return encodeModel(modelOf(g.build()));
}

/** Adds 0 so many times in a loop. */
function looped(g: GraphBuilder, score: string, turns: string): string {
  const body = new GraphBuilder('turn');
  body.input('turn', 'int64', []);
  const go = body.input('go', 'bool', []);
  const carried = body.input('carried', 'float32', [1]);
  body.output(go, 'bool', [], 'go_on');
  body.output(body.add(carried, body.scalar(0)), 'float32', [1], 'carry');
  const start = g.constant(tensor('float32', [1], [0]));
  return g.add(score, g.op('Loop', [turns, g.constant(tensor('bool', [], [1])), start], { body: body.build() }));
}

const FOR_EVER = 2_000_000_000;
const count = (g: GraphBuilder, n: number) => g.constant(tensor('int64', [], [n]));

/** Runs for ever where a row holds the id, and not at all elsewhere. */
const loopAtToken =
  (id: number): Graph =>
  (g, score, ids) => {
    const hit = g.cast(g.op('Equal', [ids, g.constant(tensor('int64', [], [id]))]), 'int64');
    const any = g.reshape(g.op('ReduceMax', [hit, g.ints([0, 1])], { keepdims: 0 }), []);
    return looped(g, score, g.op('Mul', [any, count(g, FOR_EVER)]));
  };

const chain =
  (nodes: number): Graph =>
  (g, score) => {
    let value = score;
    for (let i = 0; i < nodes; i++) value = g.op('Add', [value, g.scalar(i % 2 ? 1 : -1)]);
    return value;
  };

/** Asks for `elements` floats. */
const greedy =
  (elements: number): Graph =>
  (g, score) => {
    const side = Math.floor(Math.sqrt(elements));
    const wide = g.op('Expand', [g.scalar(1), g.ints([side, side])]);
    return g.add(score, g.op('ReduceMax', [g.op('Exp', [wide])], { keepdims: 0 }));
  };

const json = (value: unknown) => JSON.stringify(value);
const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;

/** A byte-level tokenizer whose text is split by a pattern, or changed by rules. */
function tokenizerJson(part: Readonly<Record<string, unknown>>): string {
  const vocab = Object.fromEntries(VOCABULARY.map((token, id) => [token, id]));
  const model = { type: 'BPE', vocab, merges: [], unk_token: '[UNK]' };
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'].map((content, id) => ({
    id,
    content,
    special: true,
    normalized: false,
    lstrip: false,
    rstrip: false,
    single_word: false,
  }));
  return json({
    version: '1.0',
    added_tokens: special,
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model,
    ...part,
  });
}

const split = (regex: string) =>
  tokenizerJson({ pre_tokenizer: { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false } });

const expanding = (rules: number) =>
  tokenizerJson({
    normalizer: {
      type: 'Sequence',
      normalizers: Array.from({ length: rules }, () => ({ type: 'Replace', pattern: { String: 'a' }, content: 'aa' })),
    },
  });

/** Files that replace or join those of a sound export; null leaves one out, a function does what it likes in the folder. */
type Change = Readonly<Record<string, string | Uint8Array | null>> | ((folder: string) => void);

const onnx = (bytes: Uint8Array | string): Change => ({ 'onnx/model.onnx': bytes });

/** Every hostile folder by name: the graph, the tokenizer, the settings, the folder itself. */
export const HOSTILE: Readonly<Record<string, () => Change>> = {
  'loop-endless': () => onnx(graph((g, score) => looped(g, score, count(g, FOR_EVER)))),
  'loop-at-one-token': () => onnx(graph(loopAtToken(VOCABULARY.indexOf('q')))),
  'loop-at-a-common-token': () => onnx(graph(loopAtToken(VOCABULARY.indexOf('##e')))),
  'nodes-20000': () => onnx(graph(chain(20_000))),
  'nodes-2000': () => onnx(graph(chain(2000))),
  'memory-4-gib': () => onnx(graph(greedy(2 ** 30))),
  'memory-1-tib': () => onnx(graph(greedy(2 ** 38))),
  'scores-nan': () => onnx(graph((g, score) => g.op('Log', [g.op('Sub', [score, g.scalar(1000)])]))),
  'scores-equal': () => onnx(graph((g, score) => g.op('Mul', [score, g.scalar(0)]))),
  'scores-one-for-all': () => onnx(graph((g, score) => g.op('ReduceMax', [score], { keepdims: 1 }))),
  'scores-a-scalar': () => onnx(graph((g, score) => g.op('ReduceMax', [score], { keepdims: 0 }))),
  'input-of-another-name': () => onnx(graph(undefined, 'tokens')),
  'index-out-of-range': () =>
    onnx(
      graph((g, score, ids) => {
        const far = g.op('Gather', [g.initializer('few', float32([2, 1], [1, 2])), ids], { axis: 0 });
        return g.add(score, g.reduceSum(far, [1], false));
      }),
    ),
  'op-unknown': () => onnx(graph((g, score) => g.op('NoSuchOperator', [score]))),
  'op-of-another-domain': () => onnx(graph((g, score) => g.op('com.attacker.Shell', [score]))),
  'onnx-empty': () => onnx(''),
  'onnx-garbage': () => onnx('not a graph at all'.repeat(1000)),
  'onnx-cut': () => onnx(graph().subarray(0, 200)),
  'onnx-open-length': () => onnx(Uint8Array.from([0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3])),
  'onnx-sparse-9-gib': () => (folder) => truncateSync(join(folder, 'onnx', 'model.onnx'), 9 * 2 ** 30),
  'tokenizer-backtracks': () => ({ 'tokenizer.json': split('(a+)+$') }),
  'tokenizer-backtracks-alternation': () => ({ 'tokenizer.json': split('(a|aa)+b') }),
  'tokenizer-backtracks-nested': () => ({ 'tokenizer.json': split('((a*)*)*c') }),
  'tokenizer-expands': () => ({ 'tokenizer.json': expanding(30) }),
  'tokenizer-broken': () => ({ 'tokenizer.json': '{"model":' }),
  'tokenizer-nested': () => ({ 'tokenizer.json': nested(100_000) }),
  'tokenizer-large': () => ({ 'tokenizer.json': ' '.repeat(40 * 2 ** 20) }),
  'vocabulary-missing': () => ({ 'vocab.txt': null }),
  'vocabulary-empty': () => ({ 'vocab.txt': '' }),
  'config-nested': () => ({ 'config.json': nested(50_000) }),
  'config-broken': () => ({ 'config.json': '{' }),
  'config-endless-positions': () => ({ 'config.json': json({ model_type: 'bert', max_position_embeddings: 1e9 }) }),
  'manifest-length-1e9': () => ({ 'model.json': json({ maxLength: 1e9 }) }),
  'manifest-of-another-file': () => ({ 'model.json': json({ files: { 'onnx/model.onnx': '0'.repeat(64) } }) }),
  'files-20000': () => (folder) => {
    for (let i = 0; i < 20_000; i++) writeFileSync(join(folder, `${i}.txt`), '');
  },
  'link-to-zero': () => (folder) => symlinkSync('/dev/zero', join(folder, 'special_tokens_map.json')),
  'link-to-root': () => (folder) => symlinkSync('/', join(folder, 'more')),
  pipe: () => (folder) => void execFileSync('mkfifo', [join(folder, 'added_tokens.json')]),
};

/** Puts one hostile model into a registry, whole, by one rename. */
export function dropHostile(registry: string, name: string): void {
  const hidden = join(registry, `.${name}`);
  const folder = join(hidden, '1');
  mkdirSync(join(folder, 'onnx'), { recursive: true });
  const change = HOSTILE[name]!();
  const files: Record<string, string | Uint8Array | null> = {
    'config.json': json({ model_type: 'bert', max_position_embeddings: 64, vocab_size: VOCABULARY.length }),
    'tokenizer_config.json': json({ tokenizer_class: 'BertTokenizer', do_lower_case: true }),
    'vocab.txt': VOCABULARY.join('\n'),
    'onnx/model.onnx': graph(),
    ...(typeof change === 'function' ? {} : change),
  };
  for (const [file, content] of Object.entries(files)) {
    if (content === null) continue;
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), content);
  }
  if (typeof change === 'function') change(folder);
  renameSync(hidden, join(registry, name));
}
