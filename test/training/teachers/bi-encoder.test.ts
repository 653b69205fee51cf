import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../../src/onnx/builder.ts';
import { writeModel } from '../../../src/onnx/model-file.ts';
import { float32 } from '../../../src/onnx/tensor.ts';
import { type BiEncoderOptions, openBiEncoder } from '../../../src/training/teachers/bi-encoder.ts';
import { encoderStage } from '../../../src/training/teachers/encoder-stage.ts';
import { createRandom } from '../../../src/util/random.ts';
import { winnow } from '../../support/command.ts';
import { WORDS, writeTinyModel } from '../../support/tiny-model.ts';

const WIDTH = 8;
const CLS = 2;
const SEP = 3;
const random = createRandom(5);
const TABLE = Array.from({ length: 5 + WORDS.length }, () => Array.from({ length: WIDTH }, () => random.normal()));
const QUERY = WORDS[0]!;
const PASSAGES = [WORDS[20]!, `${WORDS[21]!} ${WORDS[3]!} ${WORDS[4]!}`, `${WORDS[22]!} ${WORDS[0]!}`];
const LIST = { qid: 'q', query: QUERY, docids: ['a', 'b', 'c'], passages: PASSAGES, relevance: [1, 0, 0] };

const root = mkdtempSync(join(tmpdir(), 'winnow-bi-encoder-'));
const folder = join(root, 'encoder');
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The state of a token is its row of a table plus the sum of the rows of all tokens, so that the first token's depends on the text. */
async function writeStates(): Promise<void> {
  const g = new GraphBuilder();
  const ids = g.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = g.cast(g.input('attention_mask', 'int64', ['batch', 'sequence']), 'float32');
  const rows = g.gather(g.initializer('table', float32([TABLE.length, WIDTH], TABLE.flat())), ids);
  const sum = g.reduceSum(g.mul(rows, g.unsqueeze(mask, [2])), [1], true);
  g.output(g.add(rows, sum), 'float32', ['batch', 'sequence', WIDTH], 'last_hidden_state');
  await writeModel(join(folder, 'onnx', 'model.onnx'), modelOf(g.build()));
}

beforeAll(async () => {
  await writeTinyModel(folder);
  await writeStates();
});

const idsOf = (text: string, maxLength: number): number[] => {
  const words = text
    .split(' ')
    .filter(Boolean)
    .map((word) => 5 + WORDS.indexOf(word));
  return [CLS, ...words.slice(0, maxLength - 2), SEP];
};

/** The unit vector of a text, from the formula. */
function vectorOf(text: string, pooling: 'cls' | 'mean', maxLength = 256): number[] {
  const rows = idsOf(text, maxLength).map((id) => TABLE[id]!);
  const sum = rows[0]!.map((_, i) => rows.reduce((total, row) => total + row[i]!, 0));
  const pooled = sum.map((total, i) => total + (pooling === 'cls' ? TABLE[CLS]![i]! : total / rows.length));
  const length = Math.hypot(...pooled);
  return pooled.map((x) => x / length);
}

const cosine = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

async function scores(options: BiEncoderOptions) {
  const encoder = await openBiEncoder(folder, { threads: 1, ...options });
  try {
    for await (const { scores: found, truncated, queryCut } of encoder.score(
      (async function* () {
        yield LIST;
      })(),
    ))
      return { name: encoder.name, scores: Array.from(found), truncated, queryCut };
  } finally {
    await encoder.close();
  }
  throw new Error('no list');
}

describe('a sentence encoder as a teacher', () => {
  it.each([
    { pooling: undefined, queryPrefix: undefined, passagePrefix: undefined },
    { pooling: 'mean', queryPrefix: `${WORDS[7]!} `, passagePrefix: `${WORDS[8]!} ${WORDS[9]!} ` },
    { pooling: 'cls', queryPrefix: undefined, passagePrefix: undefined },
    { pooling: 'cls', queryPrefix: `${WORDS[7]!} `, passagePrefix: '' },
  ] as const)(
    'pooling $pooling, prefixes "$queryPrefix" and "$passagePrefix": cosines of the formula',
    async (options) => {
      const found = await scores(options);
      const { pooling = 'mean', queryPrefix = '', passagePrefix = '' } = options;
      const query = vectorOf(queryPrefix + QUERY, pooling);
      PASSAGES.forEach((passage, i) => {
        expect(found.scores[i]).toBeCloseTo(cosine(query, vectorOf(passagePrefix + passage, pooling)), 6);
      });
      expect([found.truncated, found.queryCut]).toEqual([[false, false, false], 0]);
    },
  );

  it('cuts texts with their prefix, and says so', async () => {
    const passagePrefix = `${WORDS[8]!} `;
    const found = await scores({ maxLength: 4, passagePrefix });
    const query = vectorOf(QUERY, 'mean');
    PASSAGES.forEach((passage, i) => {
      expect(found.scores[i]).toBeCloseTo(cosine(query, vectorOf(passagePrefix + passage, 'mean', 4)), 6);
    });
    expect(found.truncated).toEqual([false, true, true]);
  });

  it('is another teacher for a progress file with another prefix or pooling', async () => {
    const names = [{}, { queryPrefix: 'a ' }, { passagePrefix: 'a ' }, { pooling: 'cls' } as const, { maxLength: 9 }];
    const found = await Promise.all(names.map(async (options) => (await scores(options)).name));
    expect(new Set(found).size).toBe(names.length);
  });

  it('reads what a folder of sentence-transformers says; a stated pooling replaces its own', async () => {
    const modules = ['Transformer', 'Pooling', 'Normalize'].map((type, i) => ({
      idx: i,
      name: `${i}`,
      path: i === 1 ? '1_Pooling' : '',
      type: `sentence_transformers.models.${type}`,
    }));
    const other = join(root, 'modular');
    await writeTinyModel(other);
    cpSync(join(folder, 'onnx'), join(other, 'onnx'), { recursive: true });
    mkdirSync(join(other, '1_Pooling'));
    writeFileSync(join(other, 'modules.json'), JSON.stringify(modules));
    writeFileSync(
      join(other, '1_Pooling/config.json'),
      JSON.stringify({ word_embedding_dimension: WIDTH, pooling_mode: 'cls' }),
    );
    const prompts = { query: `${WORDS[7]!} `, passage: `${WORDS[8]!} ` };
    writeFileSync(join(other, 'config_sentence_transformers.json'), JSON.stringify({ prompts }));
    for (const pooling of [undefined, 'mean'] as const) {
      const encoder = await openBiEncoder(other, { threads: 1, pooling });
      const [query] = await encoder.embed([QUERY], 'query');
      const [passage] = await encoder.embed([PASSAGES[1]!], 'passage');
      const [bare] = await encoder.embed([PASSAGES[1]!]);
      await encoder.close();
      const close = (got: Float32Array | undefined, text: string) =>
        vectorOf(text, pooling ?? 'cls').forEach((x, i) => {
          expect(got![i]).toBeCloseTo(x, 6);
        });
      close(query, prompts.query + QUERY);
      close(passage, prompts.passage + PASSAGES[1]!);
      close(bare, PASSAGES[1]!);
    }
  });
});

describe('kept vectors', () => {
  const vectors = join(root, 'vectors');
  /** Folders of encoders with their files. */
  const kept = () =>
    readdirSync(vectors, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.kept'))
      .map((name) => join(vectors, name));
  /** Header and vector. */
  const RECORD = 32 + 4 * WIDTH;
  const sizes = () => kept().map((file) => statSync(file).size);

  it('are read again, to the last bit, also after a kill within a record and a damaged byte', async () => {
    const first = await scores({ vectors, maxLength: 4 });
    const whole = 4 * RECORD;
    expect(sizes()).toEqual([whole]);
    expect(await scores({ vectors, maxLength: 4 })).toEqual(first);
    expect(sizes()).toEqual([whole]);
    const [file] = kept() as [string];
    truncateSync(file, whole - 3);
    expect(await scores({ vectors, maxLength: 4 })).toEqual(first);
    expect(sizes()).toEqual([whole]);
    const bytes = readFileSync(file);
    bytes[bytes.length - 20]! ^= 4;
    writeFileSync(file, bytes);
    // The damaged record is made once more, behind the others.
    for (let i = 0; i < 2; i++) {
      expect(await scores({ vectors, maxLength: 4 })).toEqual(first);
      expect(sizes()).toEqual([whole + RECORD]);
    }
    writeFileSync(file, '');
    appendFileSync(file, 'half a li');
    expect(await scores({ vectors, maxLength: 4 })).toEqual(first);
    expect(sizes()).toEqual([whole]);
  });

  it('belong to one pooling and length', async () => {
    const folders = () => readdirSync(vectors).length;
    const before = folders();
    await scores({ vectors, maxLength: 5 });
    await scores({ vectors, maxLength: 4, pooling: 'cls' });
    expect(folders()).toBe(before + 2);
  });

  it('are shared by jobs that run at the same time', async () => {
    const shared = join(root, 'shared-vectors');
    const open = () => openBiEncoder(folder, { threads: 1, vectors: shared });
    const [a, b] = [await open(), await open()];
    const [one] = await a.embed([PASSAGES[0]!]);
    const [two] = await b.embed([PASSAGES[1]!]);
    await Promise.all([a.close(), b.close()]);
    const again = await open();
    expect(await again.embed(PASSAGES.slice(0, 2))).toEqual([one, two]);
    await again.close();
    const files = readdirSync(shared, { recursive: true, encoding: 'utf8' });
    expect(files.filter((name) => name.endsWith('.kept'))).toHaveLength(2);
    expect(files.filter((name) => name.endsWith('.lock'))).toEqual([]);
  });
});

describe('a first stage of vectors', () => {
  it('retrieves the passages of the highest cosine by the formula, best first', async () => {
    const texts = Array.from({ length: 30 }, (_, i) => `${WORDS[i]!} ${WORDS[(3 * i) % 40]!} ${WORDS[(11 * i) % 40]!}`);
    const encoder = await openBiEncoder(folder, { threads: 1 });
    const stage = await encoderStage(
      encoder,
      texts.map((text, i) => ({ id: `d${i}`, text })),
    );
    const queries = new Map([
      ['a', WORDS[5]!],
      ['b', `${WORDS[9]!} ${WORDS[27]!}`],
    ]);
    const run = await stage.retrieve(queries, 7);
    await encoder.close();
    for (const [qid, query] of queries) {
      const vector = vectorOf(query, 'mean');
      const cosines = texts.map((text) => cosine(vector, vectorOf(text, 'mean')));
      const best = [...cosines.keys()].sort((a, b) => cosines[b]! - cosines[a]!).slice(0, 7);
      expect(run.get(qid)?.docids).toEqual(best.map((i) => `d${i}`));
      expect(Array.from(run.get(qid)?.scores ?? [])).toEqual(best.map((i) => expect.closeTo(cosines[i]!, 6)));
    }
  });

  it('mines negatives by it', async () => {
    const lines = [0, 1, 2, 3].map((i) => ({
      query: WORDS[i]!,
      pos: [WORDS[20 + i]!],
      neg: [`${WORDS[i]!} ${WORDS[9]!}`],
    }));
    writeFileSync(join(root, 'lists.jsonl'), lines.map((line) => JSON.stringify(line)).join('\n'));
    const job = ['mine', '--format', 'jsonl', '--data', join(root, 'lists.jsonl'), '--out', join(root, 'mined.jsonl')];
    const { code, output, error } = await winnow(...job, '--bi-encoder', folder, '--negatives', '2');
    expect([code, output], error).toEqual([0, expect.stringContaining(`4 queries from bi-encoder ${folder} 256`)]);
    const mined = readFileSync(join(root, 'mined.jsonl'), 'utf8').trim().split('\n');
    const texts = lines.flatMap(({ pos, neg }) => [...pos, ...neg]);
    mined
      .map((line) => JSON.parse(line) as { query: string; pos: string[]; neg: string[] })
      .forEach((row) => {
        const query = vectorOf(row.query, 'mean');
        const others = texts.filter((text) => !row.pos.includes(text));
        const best = others.toSorted((a, b) => cosine(query, vectorOf(b, 'mean')) - cosine(query, vectorOf(a, 'mean')));
        expect(row.neg).toEqual(best.slice(0, 2));
      });
    for (const more of [
      ['--run', 'x.run'],
      ['--index', 'x'],
    ]) {
      const { code: refused, error: reason } = await winnow(...job, '--bi-encoder', folder, ...more);
      expect([refused, reason]).toEqual([2, expect.stringContaining('expected one first stage')]);
    }
    expect((await winnow(...job, '--vectors', 'x')).error).toContain('--vectors: expected --bi-encoder, got none');
  });
});

describe('winnow score', () => {
  it('refuses flags of sentence encoders without one', async () => {
    const job = ['score', '--format', 'jsonl', '--data', 'x.jsonl', '--model', 'm', '--out', 'x.run'];
    for (const flag of ['--query-prefix', '--passage-prefix', '--vectors']) {
      const { code, error } = await winnow(...job, flag, 'x');
      expect([code, error]).toEqual([2, expect.stringContaining(`${flag}: expected --bi-encoder, got --model alone`)]);
    }
  });
});
