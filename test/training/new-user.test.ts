import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { tableFromJSON, tableToIPC } from 'apache-arrow';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSources } from '../../src/training/data/sources.ts';
import { createObjective } from '../../src/training/objectives/catalog.ts';
import { type LoadedRecipe, parseRecipe } from '../../src/training/recipe/recipe.ts';
import { train } from '../../src/training/run/trainer.ts';
import { winnow } from '../support/command.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

/*
 * What a new user does: `winnow data check FILE`, then `train` with the lines it prints. Every form has one try: it trains on exactly the lists
 * that are written here, or is refused with the cure. Lists are written by hand: `query: passage=grade … | teacher's scores`.
 */

type Row = Readonly<Record<string, unknown>>;
interface Form {
  readonly name: string;
  /** Files by name; the first one, or its folder, is the source. */
  readonly files: Readonly<Record<string, string | Buffer>>;
  readonly folder?: true;
  readonly lists: readonly string[];
}

const lines = (rows: readonly Row[]): string => `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`;
const jsonl = (name: string, rows: readonly Row[], lists: readonly string[]): Form => ({
  name,
  files: { 'rows.jsonl': lines(rows) },
  lists,
});
const file = (name: string, path: string, text: string | Buffer, lists: readonly string[]): Form => ({
  name,
  files: { [path]: text },
  lists,
});

const PLAIN = ['waq: waa=1 wca=0', 'wbq: wba=1 wda=0'];
const MARGINS = ['waq: waa=1 wca=0 | 0 -2.5', 'wbq: wba=1 wda=0 | 0 -1.5'];
const PAIRS: readonly Row[] = [
  { query: 'waq', passage: 'waa', label: 1 },
  { query: 'wbq', passage: 'wda', label: 0 },
  { query: 'waq', passage: 'wca', label: 0 },
  { query: 'wbq', passage: 'wba', label: 1 },
];
const labels = (values: readonly unknown[], column = 'label'): Row[] =>
  PAIRS.map(({ query, passage }, i) => ({ query, passage, [column]: values[i] }));
const TEACHER = ['waq: waa=1 wca=0 | 3 0.5', 'wbq: wba=1 wda=0 | 2 0.25'];
const table = (separator: string, rows: readonly Row[], header = true): string =>
  `${[...(header ? [Object.keys(rows[0]!)] : []), ...rows.map((row) => Object.values(row))].map((cells) => cells.join(separator)).join('\n')}\n`;
const TRIPLES: readonly Row[] = [
  { anchor: 'waq', positive: 'waa', negative: 'wca' },
  { anchor: 'wbq', positive: 'wba', negative: 'wda' },
];
const BEIR = {
  'corpus.jsonl': lines(['waa', 'wba', 'wca', 'wda'].map((text) => ({ _id: text, title: '', text }))),
  'queries.jsonl': lines(['waq', 'wbq'].map((text) => ({ _id: text, text }))),
  'qrels/train.tsv': 'query-id\tcorpus-id\tscore\nwaq\twaa\t1\nwbq\twba\t1\n',
};

const FORMS: readonly Form[] = [
  jsonl('shuffled labeled pairs', PAIRS, ['waq: waa=1 wca=0', 'wbq: wda=0 wba=1']),
  jsonl('soft labels', labels([0.9, 0.1, 0.21, 0.8]), ['waq: waa=0.9 wca=0.21', 'wbq: wda=0.1 wba=0.8']),
  jsonl('grades', labels([5, 1, 2, 4]), ['waq: waa=1 wca=0.25', 'wbq: wda=0 wba=0.75']),
  jsonl('booleans', labels([true, false, false, true]), ['waq: waa=1 wca=0', 'wbq: wda=0 wba=1']),
  jsonl('labels in text', labels(['1', '0', '0', '1']), ['waq: waa=1 wca=0', 'wbq: wda=0 wba=1']),
  jsonl('labels that are all 0', labels([0, 0, 0, 0]), ['waq: waa=0 wca=0', 'wbq: wda=0 wba=0']),
  jsonl('pairs with a score from 0 to 1', labels([1, 0, 0.2, 0.7], 'score'), [
    'waq: waa=1 wca=0.2',
    'wbq: wda=0 wba=0.7',
  ]),
  jsonl('pairs with a teacher’s logits', labels([3, -4, -2, 5], 'score'), [
    'waq: waa=0 wca=0 | 3 -2',
    'wbq: wda=0 wba=0 | -4 5',
  ]),
  jsonl('triplets', TRIPLES, PLAIN),
  jsonl(
    'negative_1 … with gaps',
    [
      { query: 'waq', positive: 'waa', negative_1: null, negative_3: 'wca' },
      { query: 'wbq', positive: 'wba', negative_1: 'wda', negative_3: null },
    ],
    PLAIN,
  ),
  jsonl(
    'negatives as a list',
    TRIPLES.map(({ anchor, positive, negative }) => ({ query: anchor, positive, negatives: [negative] })),
    PLAIN,
  ),
  jsonl(
    'several positives',
    [{ query: 'waq', positive: ['waa', 'wba'], negative: ['wca', 'wca'] }],
    ['waq: waa=1 wca=0', 'waq: wba=1 wca=0'],
  ),
  jsonl(
    'a score for each passage',
    TRIPLES.map((row, i) => ({
      ...row,
      scores: [
        [3, 0.5],
        [2, 0.25],
      ][i],
    })),
    TEACHER,
  ),
  jsonl(
    'a margin for each triple',
    TRIPLES.map((row, i) => ({ ...row, label: [2.5, 1.5][i] })),
    MARGINS,
  ),
  jsonl(
    'a list of margins',
    TRIPLES.map((row, i) => ({ ...row, label: [[2.5], [1.5]][i] })),
    MARGINS,
  ),
  jsonl(
    'lists with labels',
    [
      { query: 'waq', docs: ['waa', 'wca'], labels: [1, 0] },
      { query: 'wbq', docs: ['wda', 'wba'], labels: [0, 1] },
    ],
    ['waq: waa=1 wca=0', 'wbq: wda=0 wba=1'],
  ),
  jsonl(
    'lists with scores',
    [
      { query: 'waq', docs: ['waa', 'wca'], scores: [1.3, -4] },
      { query: 'wbq', docs: ['wda', 'wba'], scores: [-2, 3] },
    ],
    ['waq: waa=0 wca=0 | 1.3 -4', 'wbq: wda=0 wba=0 | -2 3'],
  ),
  jsonl(
    'FlagEmbedding',
    TRIPLES.map(({ anchor, positive, negative }, i) => ({
      query: anchor,
      pos: [positive],
      neg: [negative],
      pos_scores: [[3], [2]][i],
      neg_scores: [[0.5], [0.25]][i],
      prompt: '',
      type: 'normal',
    })),
    TEACHER,
  ),
  jsonl(
    'Tevatron',
    TRIPLES.map(({ anchor, positive, negative }, i) => ({
      query_id: `${i}`,
      query: anchor,
      positive_passages: [{ docid: 'p', title: '', text: positive }],
      negative_passages: [{ docid: 'n', title: null, text: negative }],
    })),
    PLAIN,
  ),
  jsonl(
    'mined rows with answer',
    TRIPLES.map(({ anchor, positive, negative }, i) => ({
      question: anchor,
      answer: positive,
      negative,
      scores: [
        [3, 0.5],
        [2, 0.25],
      ][i],
    })),
    TEACHER,
  ),
  file('CSV', 'rows.csv', table(',', PAIRS), ['waq: waa=1 wca=0', 'wbq: wda=0 wba=1']),
  file('CSV of a spreadsheet', 'rows.csv', table(';', TRIPLES), PLAIN),
  file('TSV with a header', 'rows.tsv', table('\t', PAIRS), ['waq: waa=1 wca=0', 'wbq: wda=0 wba=1']),
  file('TSV without a header', 'rows.tsv', table('\t', PAIRS, false), ['waq: waa=1 wca=0', 'wbq: wda=0 wba=1']),
  file('triples', 'rows.tsv', table('\t', TRIPLES, false), PLAIN),
  file('triples with a header', 'rows.tsv', table('\t', TRIPLES), PLAIN),
  file('Hofstätter’s teacher scores', 'rows.tsv', '3\t0.5\twaq\twaa\twca\n2\t0.25\twbq\twba\twda\n', TEACHER),
  file('a JSON list', 'rows.json', JSON.stringify(TRIPLES), PLAIN),
  file(
    'JSON columns',
    'rows.json',
    JSON.stringify({ query: ['waq', 'wbq'], answer: ['waa', 'wba'], negative: ['wca', 'wda'] }),
    PLAIN,
  ),
  file('gzip', 'rows.jsonl.gz', gzipSync(lines(TRIPLES)), PLAIN),
  file(
    'Zstandard',
    'rows.jsonl.zst',
    // Two frames, as `cat a.zst b.zst` makes them.
    Buffer.concat(TRIPLES.map((row) => zstdCompressSync(lines([row])))),
    PLAIN,
  ),
  jsonl(
    'Cohere’s fine-tuning rows',
    TRIPLES.map(({ anchor, positive, negative }) => ({
      query: anchor,
      relevant_passages: [positive],
      hard_negatives: [negative],
    })),
    PLAIN,
  ),
  jsonl('pairs with a relevance_score', labels([0.9, 0.1, 0.21, 0.8], 'relevance_score'), [
    'waq: waa=0.9 wca=0.21',
    'wbq: wda=0.1 wba=0.8',
  ]),
  file(
    'DPR',
    'rows.json',
    JSON.stringify(
      TRIPLES.map(({ anchor, positive, negative }, i) => ({
        question: anchor,
        answers: ['wea'],
        positive_ctxs: [{ title: '', text: positive }],
        negative_ctxs: i === 0 ? [] : [{ title: '', text: negative }],
        hard_negative_ctxs: i === 0 ? [{ title: '', text: negative }] : [],
      })),
    ),
    PLAIN,
  ),
  jsonl(
    'chosen and rejected',
    TRIPLES.map(({ anchor, positive, negative }) => ({ query: anchor, chosen: positive, rejected: negative })),
    PLAIN,
  ),
  jsonl(
    'nested lists, nulls and objects with content',
    [
      { query: 'waq', pos: [{ content: 'waa' }], neg: [null, { content: 'wca' }] },
      { query: 'wbq', pos: ['wba', null], neg: ['wda'] },
    ],
    PLAIN,
  ),
  file('JSON with data', 'rows.json', JSON.stringify({ version: '1', data: TRIPLES }), PLAIN),
  file(
    'CSV with quoted line breaks',
    'rows.csv',
    '\ufeffquery,positive,negative\r\n"waq\r\nwea","waa, ""wfa""",wca\r\nwbq,wba,wda\r\n',
    ['waq\nwea: waa, "wfa"=1 wca=0', 'wbq: wba=1 wda=0'],
  ),
  file(
    'TSV with quoted line breaks and tabs',
    'rows.tsv',
    'query\tpositive\tnegative\n"waq\nwea"\t"waa\twfa"\twca\n"wbq" wea\twba\twda\n',
    ['waq\nwea: waa\twfa=1 wca=0', '"wbq" wea: wba=1 wda=0'],
  ),
  {
    name: 'a top1000 file with qrels',
    files: {
      'top1000.tsv': '1\t7\twaq\twaa\n2\t9\twbq\twda\n1\t8\twaq\twca\n2\t6\twbq\twba\n',
      'judged.qrels': '1 0 7 1\n2 0 6 1\n2 0 9 0\n',
    },
    lists: ['waq: waa=1 wca=0', 'wbq: wba=1 wda=0'],
  },
  jsonl(
    'rows with weights',
    TRIPLES.map((row, i) => ({ ...row, weight: i + 0.5 })),
    ['waq: waa=1*0.5 wca=0*0.5', 'wbq: wba=1*1.5 wda=0*1.5'],
  ),
  file(
    'Parquet',
    'rows.parquet',
    readFileSync(join(import.meta.dirname, '..', 'fixtures', 'training-rows', 'tevatron.parquet')),
    PLAIN,
  ),
  file('an Arrow file', 'rows.arrow', Buffer.from(tableToIPC(tableFromJSON([...TRIPLES]), 'file')), PLAIN),
  file('an Arrow stream', 'rows.arrow', Buffer.from(tableToIPC(tableFromJSON([...TRIPLES]), 'stream')), PLAIN),
  {
    name: 'a folder of datasets',
    files: { 'train-00000-of-00001.jsonl': lines(TRIPLES), 'test-00000-of-00001.jsonl': lines(PAIRS) },
    folder: true,
    lists: PLAIN,
  },
  {
    name: 'a BEIR folder with a run',
    files: {
      ...BEIR,
      'first.run': 'waq Q0 waa 1 2 bm25\nwaq Q0 wca 2 1 bm25\nwbq Q0 wba 1 2 bm25\nwbq Q0 wda 2 1 bm25\n',
    },
    folder: true,
    lists: ['waq: waa=1 wca=0 | 2 1', 'wbq: wba=1 wda=0 | 2 1'],
  },
];

/** A form that says too little, with the cure that the refusal names. */
interface Refused {
  readonly name: string;
  readonly format: string;
  readonly path: string;
  readonly text: string;
  readonly cure: RegExp;
  readonly objective?: string;
}
const refused = (name: string, rows: readonly Row[], cure: RegExp, objective?: string): Refused => ({
  name,
  format: 'jsonl',
  path: 'rows.jsonl',
  text: lines(rows),
  cure,
  ...(objective !== undefined && { objective }),
});
const refusedFile = (name: string, format: string, path: string, text: string, cure: RegExp): Refused => ({
  name,
  format,
  path,
  text,
  cure,
});

const REFUSED: readonly Refused[] = [
  refused(
    'pairs without labels',
    PAIRS.map(({ query, passage }) => ({ query, passage })),
    /passage: positive/,
  ),
  refused('logits as labels', labels([1.3, -4, -2, 5]), /`scores`.*`minRelevance`/),
  refused('positive logits as labels', labels([7.5, 1.3, 2.2, 5.1]), /`scores`.*`minRelevance`/),
  refused('MarginMSE on labels', PAIRS, /`winnow score`/, 'MarginMSE'),
  refused('ids without texts', [{ query_id: 1, positive_id: 2, negative_id: 3 }], /`queries`/),
  refused('unknown columns', [{ frage: 'waq', antwort: 'waa' }], /`columns: \{ "frage": ignore \}`/),
  refused(
    'positives alone',
    TRIPLES.map(({ anchor, positive }) => ({ anchor, positive })),
    /`winnow mine`/,
  ),
  refusedFile('ids as texts', 'triples', 'rows.tsv', '1\t2\t3\n4\t5\t6\n', /`queries` and `collection`/),
  refusedFile('a top1000 file', 'tsv', 'rows.tsv', '1\t2\twaq\twaa\n1\t3\twaq\twca\n', /`qrels`/),
  refusedFile('Arrow files', 'datasets', 'data-00000-of-00001.arrow', 'ARROW1', /state\.json/),
];

const folder = mkdtempSync(join(tmpdir(), 'winnow-new-user-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function put(place: string, files: Readonly<Record<string, string | Buffer>>): string {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, place, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  return join(folder, place);
}

const pathOf = (form: Form, i: number): string => {
  const place = put(`form-${i}`, form.files);
  return form.folder ? place : join(place, Object.keys(form.files)[0]!);
};

function loaded(name: string, source: Row, objective: string): LoadedRecipe {
  const document = {
    name,
    backbone: 'tiny',
    objective,
    data: { train: [source] },
    batch: { queries: 1, bucketBatches: 1 },
    steps: 2,
    maxLength: 16,
    threads: 1,
  };
  return { recipe: parseRecipe(document, 'test'), folder, source: JSON.stringify(document) };
}

/** Trains, and returns the lists of one pass as they are trained on. */
async function trained(recipe: LoadedRecipe): Promise<string[]> {
  const { needs } = createObjective(recipe.recipe.objective);
  await train(recipe, join(folder, 'runs', recipe.recipe.name));
  const found: string[] = [];
  const source = await openSources(recipe.recipe.data, folder, needs);
  for await (const { query, passages, relevance, teacher, labeled, weights } of source.lists(1)) {
    const taught = teacher && !labeled ? ` | ${teacher.join(' ')}` : '';
    found.push(
      `${query}: ${passages.map((text, p) => `${text}=${relevance[p]}${weights ? `*${weights[p]}` : ''}`).join(' ')}${taught}`,
    );
  }
  await source.close?.();
  return found.sort();
}

interface Checked {
  readonly files: readonly { readonly path: string; readonly suggestion: { source: Row; objective: string } }[];
}

describe('a new user', () => {
  let checked: Checked;
  beforeAll(async () => {
    await writeTinyModel(join(folder, 'tiny'));
    const plain: string[] = [];
    const found = new Map<string, Checked['files'][number]>();
    const check = async (...args: string[]) => {
      const { output, error } = await winnow('data', 'check', '--json', ...args);
      expect(error).toBe('');
      for (const each of (JSON.parse(output) as Checked).files) found.set(each.path, each);
    };
    const paths = FORMS.map(pathOf);
    for (const [i, path] of paths.entries()) {
      if (FORMS[i]!.files['judged.qrels'] === undefined) plain.push(path);
      else await check(path, '--qrels', join(dirname(path), 'judged.qrels'));
    }
    await check(...plain);
    checked = { files: paths.map((path) => found.get(path)!) };
  }, 120_000);

  it.each(FORMS.map((form, i) => [form.name, i] as const))('%s: one try', async (_, i) => {
    const { source, objective } = checked.files[i]!.suggestion;
    const run =
      FORMS[i]!.files['first.run'] === undefined ? {} : { candidates: join(folder, `form-${i}`, 'first.run') };
    const lists = await trained(loaded(`form-${i}`, { ...source, ...run }, objective));
    const expected = [...FORMS[i]!.lists].sort();
    // Of several positives, one is drawn in each pass.
    if (FORMS[i]!.name === 'several positives') expect(expected).toContain(lists.join());
    else expect(lists).toEqual(expected);
  });

  it.each(REFUSED)(
    '$name: refused with the cure',
    async ({ name, format, path, text, cure, objective = 'InfoNCE' }) => {
      const place = put(`refused ${name}`, { [path]: text });
      const source = { format, path: format === 'datasets' ? place : join(place, path) };
      await expect(trained(loaded(name.replaceAll(' ', '-'), source, objective))).rejects.toThrow(cure);
    },
  );

  it('the table of the documentation names every form', () => {
    const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'training-data.md'), 'utf8');
    const rows = page.split('\n').filter((line) => line.startsWith('| '));
    for (const { name } of FORMS)
      expect(
        rows.some((row) => row.startsWith(`| ${name} |`)),
        name,
      ).toBe(true);
  });
});
