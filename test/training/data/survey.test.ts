import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataSourceSchema } from '../../../src/training/data/data-schema.ts';
import { type IdentifiedList, skipCount } from '../../../src/training/data/list-types.ts';
import { openRaw } from '../../../src/training/data/sources.ts';
import { convertData, rowOf } from '../../../src/training/data/survey/convert.ts';
import { guessFormat } from '../../../src/training/data/survey/guess-format.ts';
import { KeyCounts } from '../../../src/training/data/survey/key-counts.ts';
import { NumberSummary } from '../../../src/training/data/survey/number-summary.ts';
import { textHash } from '../../../src/training/data/survey/text-hash.ts';
import { winnow } from '../../support/command.ts';
import { writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-survey-test-'));
beforeAll(() => writeTinyModel(join(folder, 'tiny')));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, ...lines: readonly unknown[]): string => {
  const path = join(folder, name);
  writeFileSync(path, lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''));
  return path;
};

interface Checked {
  readonly survey: {
    readonly lists: number;
    readonly passages: number;
    readonly teacherScores?: object;
    readonly rowsLeftOut: Record<string, number>;
    readonly findings: readonly { readonly what: string; readonly count: number; readonly example?: string }[];
    readonly uses: readonly { readonly objectives: string[]; readonly passages: number; readonly leftOut: object }[];
    readonly labels?: { readonly bars: readonly object[] };
    readonly tokens?: {
      readonly cut: number;
      readonly unknown: number;
      readonly unspelled: readonly { readonly script: string; readonly examples: readonly string[] }[];
    };
  };
  readonly suggestion: { readonly source: object; readonly objective: string; readonly share: number };
}

async function check(...args: string[]): Promise<Checked> {
  const { code, output, error } = await winnow('data', 'check', ...args, '--json');
  expect([code, error]).toEqual([0, '']);
  return (JSON.parse(output) as { files: Checked[] }).files[0]!;
}

describe('the form of a file', () => {
  it.each([
    ['jsonl', 'rows.txt', [{ query: 'a', pos: ['b'], neg: ['c'] }]],
    ['rank_llm', 'lists.jsonl', [{ query: { qid: 1, text: 'a' }, candidates: [] }]],
    ['rank_llm', 'lists.json', ['[', '{"query": "a", "hits": []}', ']']],
    ['squad', 'squad.json', ['{"data": [{"paragraphs": []}]}']],
    ['triples', 'triples.tsv', ['a\tb\tc', 'd\te\tf']],
    ['triples', 'ids.tsv', ['121352\t2912791\t3120868', '634306\t1501687\t1501687']],
    ['teacher_tsv', 'taught.tsv', ['1.5\t-2\ta\tb\tc']],
    ['trec', 'first.run', ['1 Q0 d1 1 2.5 x', '1 Q0 d2 2 2.4 x']],
    ['trec', 'marco.tsv', ['1\t77\t1', '1\t78\t2', '2\t77\t1']],
  ] as const)('%s: %s', async (format, name, lines) => {
    expect(await guessFormat(write(name, ...lines))).toBe(format);
  });

  it('is that of a folder’s layout', async () => {
    mkdirSync(join(folder, 'set', 'qrels'), { recursive: true });
    write('set/corpus.jsonl', { _id: 'd', text: 'x' });
    write('set/queries.jsonl', { _id: 'q', text: 'y' });
    write('set/qrels/train.tsv', 'query-id\tcorpus-id\tscore', 'q\td\t1');
    expect(await guessFormat(join(folder, 'set'))).toBe('beir');
  });

  it('is refused where training does not read it', async () => {
    await expect(guessFormat(write('prose.txt', 'one sentence', 'another one'))).rejects.toThrow(
      /prose.txt: expected lists, rows or triples .* got another file/,
    );
    await expect(guessFormat(write('empty.txt'))).rejects.toThrow(/got another file/);
  });
});

describe('winnow data check', () => {
  it('finds what is odd in labeled pairs, and proposes lines that train on all of them', async () => {
    const path = write(
      'pairs.jsonl',
      { query: 'a', passage: 'x', label: 1 },
      { query: 'b', passage: 'x', label: 0 },
      { query: 'a', passage: 'y', label: 0 },
      { query: 'a', passage: 'x', label: 0 },
      { query: 'b', passage: 'z', label: 0 },
      { query: 'b', passage: 'z', label: 0 },
      { query: 'b', passage: ' ', label: 0.25 },
      { query: '', passage: 'w', label: 0 },
    );
    const { survey, suggestion } = await check(path);
    expect([survey.lists, survey.passages]).toEqual([3, 8]);
    expect(Object.fromEntries(survey.findings.map(({ what, count }) => [what, count]))).toEqual({
      'passage that is relevant and not relevant for the same query': 1,
      'passage that stands twice in its list': 2,
      'empty passage': 1,
      'list with an empty query': 1,
    });
    expect(survey.findings[0]!.example).toContain('"query":"a","passage":"x"');
    expect(survey.labels!.bars).toEqual([
      { from: 0, to: 0, share: 6 / 8 },
      { from: 0.25, to: 0.25, share: 1 / 8 },
      { from: 1, to: 1, share: 1 / 8 },
    ]);
    expect(suggestion).toMatchObject({ source: { format: 'jsonl', path }, objective: 'BCE', share: 1 });
    const infoNce = survey.uses.find(({ objectives }) => objectives.includes('InfoNCE'))!;
    expect(infoNce).toMatchObject({ passages: 3, leftOut: { 'no relevant passage': 1 } });
  });

  it('proposes a reading for labels above 1, with which the recipe trains', async () => {
    const rows = [1, 2, 3, 4, 5, 3].map((label, i) => ({ query: `q${i % 2}`, passage: `p${i}`, label }));
    const { suggestion } = await check(write('graded.jsonl', ...rows));
    expect(suggestion).toMatchObject({ objective: 'BCE', share: 1, source: { labelScale: [1, 5] } });
  });

  it('does not take labels for a teacher’s scores, and says why an objective refuses them', async () => {
    const rows = [1, 0, 0].map((label, i) => ({ query: 'q', passage: `p${i}`, label }));
    const { survey, suggestion } = await check(write('labels-only.jsonl', ...rows));
    expect(survey).toMatchObject({ labeledLists: 1, taughtLists: 0 });
    expect(survey.teacherScores).toBeUndefined();
    expect(suggestion).toMatchObject({ objective: 'BCE', notes: [] });
    const margin = survey.uses.find(({ objectives }) => objectives.includes('MarginMSE'))!;
    expect(Object.keys(margin.leftOut)).toEqual([expect.stringMatching(/^refused: expected .*scores/)]);
  });

  it('counts queries and pairs that come again, positives that are negatives, and rows left out', async () => {
    const path = write('triples-odd.tsv', 'q\tp\tn', 'q\tp\tm', 'q\tp\tp', 'r\tp\tn');
    const { survey, suggestion } = await check(path);
    expect(survey.rowsLeftOut).toEqual({ 'positive equals negative': 1 });
    expect(Object.fromEntries(survey.findings.map(({ what, count }) => [what, count]))).toEqual({
      'list whose query has an earlier list': 1,
      'pair of query and passage that stands in several lists': 1,
    });
    expect(suggestion).toMatchObject({ objective: 'InfoNCE', share: 6 / 7 });
  });

  it('says what is cut and what the tokenizer cannot spell', async () => {
    const long = Array.from({ length: 20 }, () => 'waa').join(' ');
    const path = write('spelled.jsonl', { query: 'waq', pos: [long], neg: ['waa привет', 'wba 漢'] });
    const { survey } = await check(path, '--backbone', join(folder, 'tiny'), '--max-length', '16');
    expect(survey.tokens!.cut).toBeCloseTo(1 / 3, 12);
    // Three queries of one token, passages of 20, 2 and 2, two of which are unknown.
    expect(survey.tokens!.unknown).toBeCloseTo(2 / 27, 12);
    expect(survey.tokens!.unspelled.map(({ script, examples }) => [script, ...examples]).sort()).toEqual([
      ['Cyrillic', 'привет'],
      ['Han', '漢'],
    ]);
  });

  it('looks at the sources of a recipe', async () => {
    write('own.jsonl', { query: 'waq', pos: ['waa'], neg: ['wba'] });
    const recipe = write(
      'recipe.yaml',
      'name: x\nbackbone: tiny\nobjective: InfoNCE\nmaxLength: 16\ndata: { train: [{ format: jsonl, path: own.jsonl }] }',
    );
    expect((await check('--recipe', recipe)).survey).toMatchObject({ lists: 1, tokens: { maxLength: 16, cut: 0 } });
  });

  it('says what lists of no use lack, and ends with 1 where nothing can be trained on', async () => {
    const path = write('positives.jsonl', { query: 'q', pos: ['p'], neg: [] }, { query: 'r', pos: ['s'], neg: [] });
    const { output } = await winnow('data', 'check', path);
    expect(output).toContain('# lists without a negative: `npx winnow mine` finds negatives');
    expect(process.exitCode).toBe(1);
    process.exitCode = undefined;
  });

  it('prints a report', async () => {
    const path = write('shown.jsonl', { query: 'q', pos: ['p'], neg: ['n'] });
    const { code, output, error } = await winnow('data', 'check', path);
    expect([code, error]).toEqual([0, '']);
    expect(output).toContain(`${path}: jsonl\n1 list of 1 query with 2 passages, 1 relevant.`);
    expect(output).toContain(`data:\n  train:\n    - format: jsonl\n      path: ${path}\nobjective: InfoNCE\n`);
  });

  it.each([
    [[], /expected files, or --recipe, got neither/],
    [['a', '--recipe', 'b'], /expected files or --recipe, got both/],
    [['a', '--to', 'jsonl'], /expected --to and --out together, got one of them/],
    [['a', 'b', '--to', 'jsonl', '--out', 'c'], /--to: expected one file, got several sources/],
    [['/nowhere/a.jsonl'], /\/nowhere\/a.jsonl/],
  ])('refuses %j', async (args, message) => {
    const { code, error } = await winnow('data', 'check', ...args);
    expect(code).toBe(2);
    expect(error).toMatch(message);
  });
});

describe('a conversion to JSON lines', () => {
  const grade = fc.constantFrom(0, 0, 1, 2, 0.21);
  const list = fc
    .record({
      query: fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }),
      passages: fc.uniqueArray(fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }), {
        minLength: 2,
        maxLength: 5,
      }),
      grades: fc.array(grade, { minLength: 5, maxLength: 5 }),
      scores: fc.option(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 5, maxLength: 5 })),
      labeled: fc.boolean(),
    })
    .map(({ query, passages, grades, scores, labeled }) => ({
      qid: 'q',
      query,
      passages,
      relevance: grades.slice(0, passages.length),
      ...(scores && { teacher: scores.slice(0, passages.length).map((score) => score + 0) }),
      ...(labeled && { labeled: 'as given' as const }),
    }));

  it('reads as the same texts, grades and scores', async () => {
    await fc.assert(
      fc.asyncProperty(list, async (given) => {
        const row = rowOf(given);
        if (!row) {
          expect(given.relevance.every((x) => x === 0) && !('teacher' in given)).toBe(true);
          return;
        }
        const source = dataSourceSchema.parse({ format: 'jsonl', path: write('one.jsonl', row) });
        const raw = await openRaw(source, folder);
        const found: IdentifiedList[] = [];
        for await (const each of raw.lists(skipCount())) found.push(each);
        const [read] = found;
        await raw.close();
        const facts = (of: { passages: readonly string[]; relevance: readonly number[] }) =>
          new Map(of.passages.map((text, p) => [text, of.relevance[p]]));
        expect(facts(read!)).toEqual(facts(given));
        if ('teacher' in given && given.teacher)
          expect(new Map(read!.passages.map((text, p) => [text, read!.teacher![p]! + 0]))).toEqual(
            new Map(given.passages.map((text, p) => [text, given.teacher![p]])),
          );
      }),
      { numRuns: 100 },
    );
  });

  it('writes a whole file and says what it left out', async () => {
    const path = write('convert.tsv', 'q\tp\tn', 'q\tp\tp');
    const out = join(folder, 'converted.jsonl');
    const { output } = await winnow('data', 'check', path, '--to', 'jsonl', '--out', out);
    expect(output).toContain(`${out}: 1 lists; left out: 1 positive equals negative\n`);
    const source = dataSourceSchema.parse({ format: 'triples', path });
    expect(await convertData(source, folder, `${out}.gz`)).toEqual({
      lists: 1,
      leftOut: { 'positive equals negative': 1 },
    });
    expect((await check(`${out}.gz`)).survey).toMatchObject({ lists: 1, passages: 2 });
  });
});

describe('counts in bounded memory', () => {
  it('are exact below the limit and close above it', () => {
    const exact = new KeyCounts(1000);
    for (let i = 0; i < 900; i++) exact.add(textHash(`${i % 300}`), i % 300 < 10 ? (i < 300 ? 1 : 2) : 0);
    expect([exact.totals(), exact.factor]).toEqual([{ keys: 300, repeats: 600, both: 10 }, 1]);
    const some = new KeyCounts(1000);
    for (let i = 0; i < 60_000; i++) some.add(textHash(`${i % 20_000}`));
    const { keys, repeats } = some.totals();
    expect(some.factor).toBeGreaterThanOrEqual(32);
    // 20,000 keys, of which one in 32 is kept: the standard deviation is 4 %.
    expect(Math.abs(keys / 20_000 - 1)).toBeLessThan(0.15);
    expect(repeats).toBe(2 * keys);
  });

  it('sum up numbers', () => {
    const summary = new NumberSummary();
    for (let i = 1; i <= 50_000; i++) summary.add(i);
    const facts = summary.facts()!;
    expect(facts).toMatchObject({ count: 50_000, min: 1, max: 50_000, mean: 25_000.5, sampled: true });
    expect(Math.abs(facts.p90 / 45_000 - 1)).toBeLessThan(0.02);
    expect(facts.bars.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12);
    expect(new NumberSummary().facts()).toBeUndefined();
  });
});
