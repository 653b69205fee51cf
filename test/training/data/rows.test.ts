import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { dataSourceSchema, samplerSchema } from '../../../src/training/data/data-schema.ts';
import { skipCount } from '../../../src/training/data/list-types.ts';
import { openRaw, openSources } from '../../../src/training/data/sources.ts';
import { guessFormat } from '../../../src/training/data/survey/guess-format.ts';
import { openValidationSet } from '../../../src/training/measure/validation-set.ts';
import { createObjective } from '../../../src/training/objectives/catalog.ts';
import { winnow } from '../../support/command.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-rows-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function put(name: string, content: string | Buffer): string {
  const path = join(folder, `${++files}`, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

async function read(format: string, path: string, over: Record<string, unknown> = {}) {
  const raw = await openRaw(dataSourceSchema.parse({ format, path, ...over }), folder);
  const counts = skipCount();
  const lists: string[] = [];
  for await (const { query, passages, relevance, teacher, labeled } of raw.lists(counts))
    lists.push(
      `${query}: ${passages.map((text, p) => `${text}=${relevance[p]}`).join(' ')}${labeled ? ' labeled' : teacher ? ` | ${teacher.join(' ')}` : ''}`,
    );
  await raw.close();
  const at = (where: string) => where.replace(`${path}`, '').replace(/^, /, '');
  const left = counts.leftOut().map(({ reason, count, first }) => `${count} ${reason} ${at(first ?? '')}`);
  return { lists, left, columns: [...counts.columns().keys()] };
}
const lines = (...rows: unknown[]) => `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`;

describe('tables', () => {
  it.each<[string, string, string, string[]]>([
    ['csv', 'a.csv', 'query,passage,label\nq,"a, ""b""\nc",1\nq,d,0\n', ['q: a, "b"\nc=1 d=0 labeled']],
    ['csv', 'a.csv', 'Query;Document;Relevance\r\nq;a;1\r\nq;b;0\r\n', ['q: a=1 b=0 labeled']],
    ['csv', 'a.csv', ',query,pos,neg\n0,q,a,"[""b"", ""c""]"\n', ['q: a=1 b=0 c=0']],
    ['csv', 'a.csv', 'query,positive,negative_1,negative_3\nq,a,,c\n', ['q: a=1 c=0']],
    ['csv', 'a.csv', 'query,passage,label\nq,a,True\nq,b,False\n', ['q: a=1 b=0 labeled']],
    ['tsv', 'a.tsv', 'query\tpassage\tlabel\n"quoted" q\ta\t1\n', ['"quoted" q: a=1 labeled']],
    ['tsv', 'a.tsv', 'q\ta\t1\nq\tb\t0\n', ['q: a=1 b=0 labeled']],
    ['tsv', 'a.tsv', 'q\ta\tb\n', ['q: a=1 b=0']],
    ['tsv', 'a.tsv', 'q\ta\tb\t1.5\nr\tc\td\t2\n', ['q: a=1 b=0 | 0 -1.5', 'r: c=1 d=0 | 0 -2']],
    ['tsv', 'a.tsv', '3\t1\tq\ta\tb\n', ['q: a=1 b=0 | 3 1']],
    ['triples', 'a.tsv', 'query\tpositive\tnegative\nq\ta\tb\n', ['q: a=1 b=0']],
    ['json', 'a.json', '[{"query":"q","pos":["a"],"neg":["b"]}]', ['q: a=1 b=0']],
    ['json', 'a.json', '{"data":[{"query":"q","pos":["a"],"neg":["b"]}]}', ['q: a=1 b=0']],
    ['json', 'a.json', '{"query":["q","q"],"text":["a","b"],"label":[1,0]}', ['q: a=1 b=0 labeled']],
    [
      'json',
      'a.json',
      '{"query":"q","pos":["a"],"neg":["b"]}\n{"query":"r","pos":["a"],"neg":["b"]}\n',
      ['q: a=1 b=0', 'r: a=1 b=0'],
    ],
  ])('%s %s %j', async (format, name, content, expected) => {
    const path = put(name, content);
    expect((await read(format, path)).lists).toEqual(expected);
    if (format !== 'json') expect((await read(format, put(`${name}.gz`, gzipSync(content)))).lists).toEqual(expected);
  });

  it('every text survives quoting', async () => {
    const text = fc
      .string({ unit: 'binary', minLength: 1 })
      .filter((s) => s.isWellFormed() && !/^[\s[]|[\r\0]|\s$/.test(s));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 5 }), async (rows) => {
        const quoted = rows.map((row) => row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(','));
        const path = put('quoted.csv', `query,positive,negative\n${quoted.map((row) => `${row},-`).join('\n')}\n`);
        const raw = await openRaw(dataSourceSchema.parse({ format: 'csv', path, columns: {} }), folder);
        const found: string[][] = [];
        for await (const { query, passages } of raw.lists(skipCount())) found.push([query, passages[0]!]);
        expect(found).toEqual(rows.filter(([, positive]) => positive !== '-'));
      }),
      { numRuns: 30 },
    );
  });

  it.each<[string, string, RegExp]>([
    ['tsv', '1\t7\tq\ttext\n2\t8\tr\tother\n', /a\.tsv:1: expected a top1000 file.*`qrels`/],
    ['tsv', 'frage\tantwort\tlabel2\nq\ta\t1\nq\tb\t0\n', /header of known names.*`columns`/],
    ['csv', 'frage,antwort,falsch\nwhat is it,a b,c d\n', /header of known names.*`columns`/],
    ['tsv', '1\t2\t0\n3\t4\t1\n', /`format: triples` with `queries` and `collection`/],
    ['tsv', 'query\tpassage\tlabel\nq\ta\t1\tmore\n', /a\.tsv:2: expected at most 3 cells, as in the first row, got 4/],
    ['csv', 'query,passage,label,query\nq,a,1,r\n', /expected each column once, got query twice/],
    ['csv', 'query,passage,label\nq,"a,1\n', /a quotation mark that ends the cell/],
    ['csv', "query,pos,neg\nq,a,\"['b', 'c']\"\n", /a JSON list/],
    ['triples', 'positive\tquery\tnegative\nq\ta\tb\n', /in the order query, positive, negative/],
    ['triples', 'q\ta\t1\nq\tb\t0\n', /query, passage and label are `format: tsv`/],
    ['jsonl', '[{"query":"q"}]\n', /`format: json`/],
  ])('%s %j is refused with the cure', async (format, content, message) => {
    await expect(read(format, put(format === 'csv' ? 'a.csv' : 'a.tsv', content))).rejects.toThrow(message);
  });
});

describe('columns', () => {
  it.each<[string, unknown[], string[]]>([
    [
      'Tevatron',
      [
        {
          query_id: '1',
          query: 'q',
          positive_passages: [{ docid: '3', title: 'T', text: 'a' }],
          negative_passages: [{ docid: '4', title: '', text: 'b' }],
        },
      ],
      ['q: T a=1 b=0'],
    ],
    [
      'FlagEmbedding',
      [{ query: 'q', pos: ['a'], neg: ['b', 'c'], pos_scores: [3], neg_scores: [2, 1], prompt: 'p', type: 'normal' }],
      ['q: a=1 b=0 c=0 | 3 2 1'],
    ],
    ['n-tuple with labels', [{ anchor: 'q', positive: 'a', negative: 'b', labels: [1, 0] }], ['q: a=1 b=0']],
    ['a pair', [{ question: 'q', answer: 'a' }], ['q: a=1']],
    ['answers with labels', [{ question: 'q', answers: ['a', 'b'], labels: ['1', '0'] }], ['q: a=1 b=0 labeled']],
    ['ragged', [{ query: 'q', docs: ['a', null, 'b'], labels: [1, 0, 0] }], ['q: a=1 b=0 labeled']],
    ['numbers as texts', [{ query: 1984, pos: ['novel'], neg: [1985] }], ['1984: novel=1 1985=0']],
    ['repeated negatives', [{ query: 'q', pos: ['a'], neg: ['b', 'b', 'c'] }], ['q: a=1 b=0 c=0']],
    [
      'scores of pairs',
      [
        { query: 'q', passage: 'a', score: 0.5 },
        { query: 'q', passage: 'b', score: -3 },
      ],
      ['q: a=0 b=0 | 0.5 -3'],
    ],
  ])('%s', async (_, rows, expected) => {
    expect((await read('jsonl', put('a.jsonl', lines(...rows)))).lists).toEqual(expected);
  });

  it('a bad cell costs the cell and is counted with its line', async () => {
    const path = put(
      'a.jsonl',
      lines(
        { query: 'q', pos: ['a', null], neg: ['b', { no: 'text' }, true], note: 3, url: 'u' },
        { query: 'r', docs: ['a', 'b'], labels: [1, 'x'] },
        { query: 's', pos: ['a'], neg: ['b'], pos_scores: [1, 2], neg_scores: [3] },
        { query: {}, pos: ['a'], neg: ['b'] },
        { query: 't', docs: ['a', 'b'], labels: [1] },
        { query: 'u', passage: 'a', label: null },
      ),
    );
    const { lists, left, columns } = await read('jsonl', path);
    expect(lists).toEqual(['q: a=1 b=0', 's: a=1 b=0', 'r: a=1 labeled']);
    expect(left).toEqual([
      '3 cell that is not text :1',
      '1 passage without a label :2',
      '1 scores that differ from the passages in number :3',
      '1 query that is not text :4',
      '1 labels that differ from the passages in number :5',
      '1 label that is not a number :6',
    ]);
    expect(columns).toEqual(['url', 'note']);
  });

  it('an unknown column of texts is refused by name, until it has a role', async () => {
    const path = put('a.jsonl', lines({ frage: 'q', antwort: 'a', falsch: 'b' }));
    await expect(read('jsonl', path)).rejects.toThrow(/columns: \{ "frage": ignore \}.*got texts in column "frage"/);
    const columns = { frage: 'query', antwort: 'positive', falsch: 'negative' };
    expect((await read('jsonl', path, { columns })).lists).toEqual(['q: a=1 b=0']);
    await expect(read('triples', path, { columns })).rejects.toThrow(/`columns`, which would have no effect/);
  });

  it('commands take roles too, and tell columns that are not read', async () => {
    const path = put('a.jsonl', lines({ frage: 'q', antwort: 'a', falsch: 'b', url: 'u' }));
    const { output } = await winnow('data', 'check', path, '--columns', 'frage=query,antwort=positive,falsch=negative');
    expect(output).toMatch(/column "url", which is not read/);
    const { code, error } = await winnow('data', 'check', path, '--columns', 'frage');
    expect([code, error]).toEqual([2, expect.stringMatching(/--columns: expected name=role/)]);
  });

  it('validation takes the same columns', async () => {
    const data = { format: 'csv' as const, path: put('a.csv', 'frage,text,label\nq r,a b,1\nq r,c,0\n') };
    const columns = { frage: 'query' as const };
    await expect(openValidationSet(data, folder)).rejects.toThrow(/texts in column "frage"|header of known names/);
    const set = await openValidationSet({ ...data, columns }, folder);
    expect([...set.queries.values()]).toEqual(['q r']);
    const [grades] = set.qrels.values();
    expect([...grades!.values()]).toEqual([1, 0]);
    await set.close();
  });

  it('ids need the files of their texts, and are looked up there', async () => {
    const rows = [{ query_id: 1, positive_id: 10, negative_id: 11, score: 2.5 }];
    const path = put('a.jsonl', lines(...rows));
    await expect(read('jsonl', path)).rejects.toThrow(/texts, or `queries` for the texts of ids/);
    const over = { queries: put('q.tsv', '1\tq\n'), collection: put('c.tsv', '10\tten\n11\televen\n') };
    expect((await read('jsonl', path, over)).lists).toEqual(['q: ten=1 eleven=0 | 0 -2.5']);
    const numbers = put('b.jsonl', lines({ query: 'q', pos: [10], neg: [11] }));
    await expect(read('jsonl', numbers)).rejects.toThrow(/texts, or `queries` and `collection`/);
    await expect(read('jsonl', put('c.jsonl', lines({ query: 'q', passage: 'a' })))).rejects.toThrow(
      /`columns: \{ passage: positive \}`/,
    );
  });

  it.each([
    [{ query: 'q', docs: ['a', 'b'], labels: [7.5, 1.3] }, 'InfoNCE', /`scores`.*`minRelevance`/],
    [{ query: 'q', docs: ['a', 'b'], labels: [1, 0] }, 'MarginMSE', /scores or margins.*labels of 0 and 1/],
    [{ query: 'q', positive: 'a', negative: 'b', labels: [0, 1] }, 'MarginMSE', /labels of 1 for positives/],
  ])('%j is refused for %s', async (row, objective, message) => {
    const train = [dataSourceSchema.parse({ format: 'jsonl', path: put('a.jsonl', lines(row)) })];
    const source = await openSources(
      { train, sampler: samplerSchema.parse({}) },
      folder,
      createObjective(objective).needs,
    );
    await expect(source.lists(1)[Symbol.asyncIterator]().next()).rejects.toThrow(message);
  });
});

describe('folders of datasets', () => {
  it('the files of a split are read as one', async () => {
    const path = put('data/train-00000-of-00002.jsonl', lines({ query: 'q', pos: ['a'], neg: ['b'] }));
    const top = dirname(dirname(path));
    writeFileSync(join(top, 'data', 'train-00001-of-00002.jsonl'), lines({ query: 'r', pos: ['a'], neg: ['b'] }));
    writeFileSync(join(top, 'data', 'test-00000-of-00001.jsonl'), lines({ query: 's', pos: ['a'], neg: ['b'] }));
    writeFileSync(join(top, 'dataset_infos.json'), '{}');
    expect((await read('datasets', top)).lists).toEqual(['q: a=1 b=0', 'r: a=1 b=0']);
    expect((await read('datasets', top, { split: 'test' })).lists).toEqual(['s: a=1 b=0']);
    await expect(read('datasets', top, { split: 'dev' })).rejects.toThrow(/files of the split dev/);
    expect(await guessFormat(top)).toBe('datasets');
  });

  it('reads a folder that save_to_disk of datasets 4 wrote, with lists, integers and splits', async () => {
    const saved = join(import.meta.dirname, '../../fixtures/saved-dataset');
    const all = await read('datasets', saved);
    expect(all.lists).toHaveLength(5);
    expect(all.lists[1]).toBe('query 1: good 1=1 bad 1-0=0 bad 1-1=0 bad 1-2=0');
    expect((await read('datasets', saved, { split: 'test' })).lists).toHaveLength(2);
    await expect(read('datasets', saved, { split: 'dev' })).rejects.toThrow(/a folder of the split dev/);
    expect(await guessFormat(saved)).toBe('datasets');
  });

  it('an Arrow file that is cut is refused by name', async () => {
    const saved = join(import.meta.dirname, '../../fixtures/saved-dataset/train');
    const bytes = readFileSync(join(saved, 'data-00000-of-00001.arrow'));
    for (const length of [0, 3, 40, 700]) {
      const cut = dirname(put(`cut-${length}/state.json`, readFileSync(join(saved, 'state.json'), 'utf8')));
      writeFileSync(join(cut, 'data-00000-of-00001.arrow'), bytes.subarray(0, length));
      await expect(read('datasets', cut)).rejects.toThrow(/data-00000-of-00001\.arrow/);
    }
  });

  it('Arrow files alone and several configurations are refused with the cure', async () => {
    await expect(read('datasets', dirname(put('data-00000-of-00001.arrow', 'ARROW1')))).rejects.toThrow(/state\.json/);
    const top = dirname(dirname(put('pair/train.jsonl', '{}')));
    mkdirSync(join(top, 'triplet'));
    writeFileSync(join(top, 'triplet', 'train.jsonl'), '{}');
    await expect(read('datasets', top)).rejects.toThrow(/the folder of one configuration, got those of pair, triplet/);
  });
});
