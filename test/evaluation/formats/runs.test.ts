import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseNumber, splitFields } from '../../../src/evaluation/formats/fields.ts';
import { readQrels, writeQrels } from '../../../src/evaluation/formats/qrels.ts';
import { readRun, scanRun, writeRun } from '../../../src/evaluation/formats/run.ts';
import { scanLines } from '../../../src/util/lines.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();
let serial = 0;
const file = (text: string | Uint8Array, name = `file-${serial++}.txt`) => folder.put({ [name]: text });

const plain = (run: Awaited<ReturnType<typeof readRun>>) =>
  Object.fromEntries([...run].map(([qid, { docids, scores }]) => [qid, docids.map((id, i) => [id, scores[i]])]));

describe('numbers', () => {
  const parse = (text: string) => parseNumber(Buffer.from(`x${text}y`), 1, 1 + Buffer.byteLength(text));

  it('any double that is printed is read back to the bit', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer({ min: 0, max: 12 }), (x, digits) => {
        expect(parse(String(x))).toBe(x + 0); // -0 prints as 0
        const fixed = x.toFixed(digits);
        if (Math.abs(x) < 1e15) expect(parse(fixed)).toBe(Number(fixed));
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['+5', 5],
    ['5.', 5],
    ['.5', 0.5],
    ['-.25', -0.25],
    ['1E3', 1000],
    ['inf', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    ['15.780599594116211', 15.780599594116211],
    ['0.1', 0.1],
  ])('%s', (text, value) => {
    expect(parse(text)).toBe(value);
  });

  it.each(['', '.', '-', '1.2.3', 'nan', '0x10', '1e', '١', '1,5'])('%j is none', (text) => {
    expect(parse(text)).toBeNaN();
  });
});

describe('fields', () => {
  it('are split at any white space of C', () => {
    const bytes = Buffer.from(' \ta b\vc\fd\re  ');
    const spans = new Int32Array(10);
    expect(splitFields(bytes, 0, bytes.length, spans)).toBe(5);
    expect(Array.from({ length: 5 }, (_, i) => bytes.toString('utf8', spans[2 * i]!, spans[2 * i + 1]!))).toEqual([
      ...'abcde',
    ]);
    expect(splitFields(bytes, 0, bytes.length, new Int32Array(4))).toBe(3);
  });
});

describe('lines', () => {
  it('come with number and offset, whatever the chunks, line breaks and byte-order mark', async () => {
    const long = 'x'.repeat(3 << 20);
    const path = await file(`\ufeffone\r\n\n${long}\nlast`);
    const seen: unknown[] = [];
    await scanLines(path, (buffer, start, end, line, offset) => {
      seen.push([line, offset, end - start, buffer.toString('utf8', start, Math.min(end, start + 4))]);
    });
    expect(seen).toEqual([
      [1, 0, 3, 'one'],
      [2, 8, 0, ''],
      [3, 9, long.length, 'xxxx'],
      [4, 9 + long.length + 1, 4, 'last'],
    ]);
  });
});

describe('TREC runs', () => {
  const text = '# tag\nq1 Q0 b 1 2.5 t\nq1\tQ0\ta 2 2.5 t more fields\n\n  q2 Q0 c 1 1e2 t\nq2 Q0 d 2 3 t\n';
  const wanted = {
    q1: [
      ['b', 2.5],
      ['a', 2.5],
    ],
    q2: [
      ['c', 100],
      ['d', 3],
    ],
  };

  it('are read with comments, blanks, tabs and ties in trec_eval’s order', async () => {
    expect(plain(await readRun(await file(text)))).toEqual(wanted);
  });

  it('may be packed, known by content', async () => {
    expect(plain(await readRun(await file(gzipSync(text), 'packed-without-the-ending')))).toEqual(wanted);
  });

  it('whose queries are scattered are read all the same', async () => {
    const lines = ['q1 Q0 a 1 1 t', 'q2 Q0 a 1 1 t', 'q1 Q0 b 2 5 t', 'q2 Q0 b 2 5 t'];
    const path = await file(lines.join('\n'));
    expect(plain(await readRun(path))).toEqual({
      q1: [
        ['b', 5],
        ['a', 1],
      ],
      q2: [
        ['b', 5],
        ['a', 1],
      ],
    });
    const last = new Map<string, number>();
    await scanRun(path, (qid, hits) => last.set(qid, hits.size));
    expect([...last]).toEqual([
      ['q1', 2],
      ['q2', 2],
    ]);
  });

  it('may be cut', async () => {
    expect(plain(await readRun(await file(text), { top: 1 }))).toEqual({ q1: [['b', 2.5]], q2: [['c', 100]] });
  });

  it('single precision makes near scores equal', async () => {
    const near = await file('q Q0 a 1 1.0000000001 t\nq Q0 z 2 1 t\n');
    expect(plain(await readRun(near)).q!.map(([id]) => id)).toEqual(['a', 'z']);
    expect(plain(await readRun(near, { precision: 'single' })).q!.map(([id]) => id)).toEqual(['z', 'a']);
  });

  it('an empty file is an empty run', async () => {
    expect((await readRun(await file(''))).size).toBe(0);
  });

  it.each([
    ['q1 Q0 a 1 2.5', ':1: expected 6 fields (qid Q0 docno rank score tag), got 5'],
    ['# c\nq1 Q0 a 1 high t', ':2: expected a number as score, got "high"'],
    ['q1 Q0 a 1 nan t', ':1: expected a number as score, got "nan"'],
    ['q1 Q0 a 1 2 t\nq1 Q0 a 2 1 t', ':2: expected each document once for query q1, got a again'],
    ['q1 Q0 a 1 2 t\nq2 Q0 b 2 1 t\nq1 Q0 a 2 1 t', ':3: expected each document once for query q1, got a again'],
    ['q1 a', ':1: expected 6 fields'],
  ])('%j is refused', async (bad, message) => {
    const path = await file(bad);
    await expect(readRun(path)).rejects.toThrow(path + message);
  });

  it('a missing file, a folder and a broken archive are named', async () => {
    await expect(readRun(join(folder.path, 'nowhere'))).rejects.toThrow(
      'nowhere: expected a readable file, got no such file',
    );
    await expect(readRun(folder.path)).rejects.toThrow('expected a readable file, got a folder');
    const broken = await file(gzipSync(text.repeat(50)).subarray(0, 60), 'broken.gz');
    await expect(readRun(broken)).rejects.toThrow('broken.gz: expected a readable file');
  });
});

describe('other runs', () => {
  it('MS MARCO: the given rank is the order', async () => {
    const path = await file('1\t900\t2\n1\t100\t1\n2\t7\t1\n');
    expect(plain(await readRun(path))).toEqual({
      '1': [
        ['100', -1],
        ['900', -2],
      ],
      '2': [['7', -1]],
    });
  });

  it('rank_llm, both shapes, JSON and JSON lines', async () => {
    const old = [{ query: 'what', hits: [{ qid: 7, docid: 'a', rank: 1, score: 2, content: 'text a' }] }];
    const now = {
      query: { text: 'what', qid: '7' },
      candidates: [{ docid: 'a', score: 2, doc: { title: 'T', text: 'text' } }],
    };
    const wanted = { '7': [['a', 2]] };
    expect(plain(await readRun(await file(JSON.stringify(old), 'old.json')))).toEqual(wanted);
    expect(plain(await readRun(await file(gzipSync(`${JSON.stringify(now)}\n`), 'now.jsonl.gz')))).toEqual(wanted);
  });

  it('JSON lines of one document each', async () => {
    const text = '{"qid": 1, "docid": "a", "score": 2}\n{"qid": 1, "docid": "b", "score": 3.5}\n';
    const wanted = {
      '1': [
        ['b', 3.5],
        ['a', 2],
      ],
    };
    expect(plain(await readRun(await file(text, 'flat.jsonl')))).toEqual(wanted);
    await expect(readRun(await file(text + text, 'twice.jsonl'))).rejects.toThrow(
      'twice.jsonl:3: expected each document once for query 1, got a again',
    );
    await expect(readRun(await file('{"qid": 1, "docid": "a"}', 'none.jsonl'))).rejects.toThrow(
      'none.jsonl:1: expected "score" to be a number',
    );
  });

  it('nested JSON', async () => {
    expect(plain(await readRun(await file('{"q": {"a": 1, "b": 2.5}}', 'nested.json')))).toEqual({
      q: [
        ['b', 2.5],
        ['a', 1],
      ],
    });
    await expect(readRun(await file('{"q": {"a": "x"}}', 'bad.json'))).rejects.toThrow(
      'query q: expected {docid: score}',
    );
  });

  it.each([
    [
      '[{"query": "x", "hits": [{"qid": 1, "docid": "a", "score": 1, "content": "t"}, {"qid": 1, "docid": "a", "score": 0, "content": "t"}]}]',
      'entry 1: expected each document once for query 1',
    ],
    [
      '[{"query": "x", "hits": [{"qid": 1, "docid": "a", "score": 1, "content": "t"}]}, {"query": "y", "hits": [{"qid": 2, "docid": "a", "score": 1, "content": "u"}]}]',
      'entry 2: expected document a with its earlier text, got "u" (string)',
    ],
    ['[{"query": "x", "hits": []}]', 'expected at least 1 hit'],
    ['[{"query": "x"}]', 'expected "hits" or "candidates" to be a list'],
    [
      '[{"query": "x", "hits": [{"qid": 1, "docid": "a", "content": "t"}]}]',
      'candidate 1: expected "score" to be a number',
    ],
    ['[', 'expected JSON'],
  ])('%s is refused', async (text, message) => {
    await expect(readRun(await file(text, `bad-${serial++}.json`))).rejects.toThrow(message);
  });
});

describe('written runs', () => {
  const ids = fc.uniqueArray(fc.stringMatching(/^[a-zé\u{1f600}0-9-]{1,6}$/u), { minLength: 1, maxLength: 8 });

  it('are read back to the bit and in the same order', async () => {
    await fc.assert(
      fc.asyncProperty(
        ids,
        fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 8, maxLength: 8 }),
        async (docids, scores) => {
          const path = join(folder.path, `written-${serial++}.run.gz`);
          await writeRun(
            path,
            new Map([['q 1'.replace(' ', ''), { docids, scores: scores.slice(0, docids.length).map((s) => s + 0) }]]),
            'my tag',
          );
          const back = (await readRun(path)).get('q1')!;
          docids.forEach((id, i) => {
            expect(back.scores[back.docids.indexOf(id)]).toBe(scores[i]! + 0);
          });
          expect(gunzipSync(readFileSync(path)).toString().split('\n')[0]).toMatch(/^q1 Q0 \S+ 1 \S+ my-tag$/);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('a failed write leaves nothing', async () => {
    const twice = new Map([['q', { docids: ['a', 'a'], scores: [1, 2] }]]);
    await expect(writeRun(join(folder.path, 'failed', 'x.run'), twice, 't')).rejects.toThrow('each docid once');
    const { readdirSync } = await import('node:fs');
    expect(readdirSync(join(folder.path, 'failed'))).toEqual([]);
  });
});

describe('qrels', () => {
  const wanted = { q1: { a: 1, b: -1 }, q2: { c: 3 } };
  const nested = (qrels: Awaited<ReturnType<typeof readQrels>>) =>
    Object.fromEntries([...qrels].map(([qid, docs]) => [qid, Object.fromEntries(docs)]));

  it.each([
    ['TREC', '# c\nq1 0 a 1\n\nq1\tQ0\tb\t-1\nq2 0 c 3', 'a.txt'],
    ['MS MARCO', 'q1\t0\ta\t1\nq1\t0\tb\t-1\nq2\t0\tc\t3\n', 'a.tsv'],
    ['BEIR', 'query-id\tcorpus-id\tscore\nq1\ta\t1\nq1\tb\t-1\nq2\tc\t3\n', 'b.tsv'],
    ['whole numbers with a point', 'q1 0 a 1.0\nq1 0 b -1\nq2 0 c 3', 'c.txt'],
    ['JSON', JSON.stringify(wanted), 'q.json'],
    [
      'JSON lines',
      '{"qid": "q1", "docid": "a", "rel": 1}\n{"qid": "q1", "docid": "b", "rel": -1}\n{"qid": "q2", "docid": "c", "rel": 3}\n',
      'q.jsonl',
    ],
  ])('%s', async (_, text, name) => {
    expect(nested(await readQrels(await file(text, name)))).toEqual(wanted);
  });

  it.each([
    ['q1 0 a', ':1: expected 4 fields (qid iter docno rel), got 3'],
    ['q1 0 a 1 x', ':1: expected 4 fields (qid iter docno rel), got more'],
    ['q1 0 a 1\nq1 0 b yes', ':2: expected a whole number as grade, got "yes"'],
    ['q1 0 a 1.5', ':1: expected a whole number as grade, got "1.5"'],
    ['q1 0 a 1\nq2 0 a 1\nq1 0 a 2', ':3: expected each document once for query q1, got a again'],
    ['query-id\tcorpus-id\tscore\nq1 0 a 1', ':2: expected 3 fields (query-id corpus-id score), got 4'],
  ])('%j is refused', async (text, message) => {
    const path = await file(text);
    await expect(readQrels(path)).rejects.toThrow(path + message);
  });

  it.each(['trec', 'beir'] as const)('written as %s are read back', async (format) => {
    const path = join(folder.path, `out-${format}.tsv.gz`);
    await writeQrels(path, new Map(Object.entries(wanted).map(([q, d]) => [q, new Map(Object.entries(d))])), format);
    expect(nested(await readQrels(path))).toEqual(wanted);
  });
});
