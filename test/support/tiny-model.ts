import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { writeModel } from '../../src/onnx/model-file.ts';
import { float32 } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';

/** Words of a synthetic language: the first half are queries, each answered by one word of the second half. */
export const WORDS: readonly string[] = Array.from(
  { length: 40 },
  (_, i) => `w${String.fromCharCode(97 + (i % 20))}${i < 20 ? 'q' : 'a'}`,
);
const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const HIDDEN = 16;

function tokenizerJson(): object {
  const vocab = Object.fromEntries([...SPECIAL, ...WORDS].map((word, id) => [word, id]));
  const special = (token: string) => ({ id: token, ids: [vocab[token]], tokens: [token] });
  const cls = { SpecialToken: { id: '[CLS]', type_id: 0 } };
  const sep = (type_id: number) => ({ SpecialToken: { id: '[SEP]', type_id } });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [cls, { Sequence: { id: 'A', type_id: 0 } }, sep(0)],
      pair: [cls, { Sequence: { id: 'A', type_id: 0 } }, sep(0), { Sequence: { id: 'B', type_id: 1 } }, sep(1)],
      special_tokens: { '[CLS]': special('[CLS]'), '[SEP]': special('[SEP]') },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  };
}

/** Embeddings → one round of attention → mean of the states → tanh → logits: small enough to train in a second. */
function tinyGraph() {
  const random = createRandom(3);
  const g = new GraphBuilder('tiny');
  const weight = (name: string, dims: readonly number[], scale = 0.3) =>
    g.initializer(
      name,
      float32(
        dims,
        Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => scale * random.normal()),
      ),
    );
  const ids = g.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = g.cast(g.input('attention_mask', 'int64', ['batch', 'sequence']), 'float32');
  const x = g.gather(weight('word_embeddings.weight', [SPECIAL.length + WORDS.length, HIDDEN]), ids);
  const hidden = g.mul(g.sub(mask, g.scalar(1)), g.scalar(1e4));
  const scores = g.add(
    g.matmul(g.op('MatMul', [x, weight('attention.weight', [HIDDEN, HIDDEN])]), g.transpose(x, [0, 2, 1])),
    g.unsqueeze(hidden, [1]),
  );
  const states = g.op('Add', [x, g.op('MatMul', [g.softmax(scores), x])]);
  const wide = g.unsqueeze(mask, [2]);
  const mean = g.div(g.reduceSum(g.mul(states, wide), [1], false), g.reduceSum(wide, [1], false));
  const dense = g.op('Tanh', [
    g.op('Gemm', [g.mul(mean, mean), weight('dense.weight', [HIDDEN, HIDDEN]), weight('dense.bias', [HIDDEN], 0)], {
      transB: 1,
    }),
  ]);
  g.output(
    g.op('Gemm', [dense, weight('classifier.weight', [1, HIDDEN]), weight('classifier.bias', [1], 0)], { transB: 1 }),
    'float32',
    ['batch', 1],
    'logits',
  );
  return g.build();
}

/** Ids of the tokenizer. */
export const VOCABULARY = SPECIAL.length + WORDS.length;

/** Writes the tokenizer of the synthetic language. */
export function writeTinyTokenizer(folder: string): void {
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerJson()));
  writeFileSync(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ tokenizer_class: 'BertTokenizer', model_max_length: 64 }),
  );
}

/** Writes a model folder in Hugging Face layout that any part of Winnow can load, train and serve. */
export async function writeTinyModel(folder: string): Promise<string> {
  mkdirSync(join(folder, 'onnx'), { recursive: true });
  await writeModel(join(folder, 'onnx', 'model.onnx'), modelOf(tinyGraph()));
  writeTinyTokenizer(folder);
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({
      model_type: 'bert',
      architectures: ['BertForSequenceClassification'],
      hidden_size: HIDDEN,
      num_labels: 1,
      max_position_embeddings: 64,
    }),
  );
  return folder;
}

/** Writes lists of the synthetic language as FlagEmbedding JSONL; the answer to a word is its partner. */
export function tinyData(path: string, lists: number, seed = 1): string {
  const random = createRandom(seed);
  const lines = Array.from({ length: lists }, () => {
    const q = random.below(20);
    const negatives = random.shuffle(Array.from({ length: 20 }, (_, i) => i).filter((i) => i !== q)).slice(0, 7);
    const say = (i: number) => `${WORDS[20 + i]!} ${WORDS[random.below(20)]!}`;
    return JSON.stringify({
      query: WORDS[q],
      pos: [say(q)],
      neg: negatives.map(say),
      pos_scores: [5],
      neg_scores: negatives.map((_, i) => -i / 4),
    });
  });
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}
