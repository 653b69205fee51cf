import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseMeasure } from '../../../src/evaluation/measures/measure.ts';
import { readTeacher } from '../../../src/training/data/teacher.ts';
import { blendAll, chooseWeights, type Teacher } from '../../../src/training/teachers/choose-weights.ts';
import { createRandom } from '../../../src/util/random.ts';
import { winnow } from '../../support/command.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-ensemble-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const random = createRandom(3);
const QUERIES = Array.from({ length: 12 }, (_, i) => `q${i}`);
const DOCS = Array.from({ length: 20 }, (_, i) => `d${i}`);
const truth = new Map(QUERIES.map((qid) => [qid, new Map(DOCS.map((docid) => [docid, random.below(4)]))]));
/** A teacher that sees the grade with noise, on a scale of its own. */
const teacher = (name: string, noise: number, scale: number): Teacher => ({
  name,
  scores: new Map(
    [...truth].map(([qid, grades]) => [
      qid,
      new Map([...grades].map(([docid, grade]) => [docid, scale * (grade + noise * random.normal()) + 7])),
    ]),
  ),
});
const measure = parseMeasure('nDCG@10');
const input = (teachers: readonly Teacher[]) => ({ teachers, qrels: truth, measure, normalization: 'z' }) as const;

/** nDCG@10 with linear gain, from the formula. */
function ndcg(grades: readonly number[], scores: readonly number[]): number {
  const gain = (order: readonly number[]) =>
    order.slice(0, 10).reduce((sum, grade, i) => sum + grade / Math.log2(i + 2), 0);
  const ranked = [...grades.keys()].sort((a, b) => scores[b]! - scores[a]!).map((i) => grades[i]!);
  return gain(ranked) / gain(grades.toSorted((a, b) => b - a));
}

describe('weights of teachers', () => {
  it('a teacher of noise gets less than a good one; values are those of the formula', () => {
    const [good, bad] = [teacher('good', 0.5, 0.01), teacher('bad', 50, 100)];
    const choice = chooseWeights(input([good, bad]));
    if (!choice) throw new Error('no choice');
    expect(choice.weights[0]).toBeGreaterThan(0.5);
    expect(choice.weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    const values = QUERIES.map((qid) => ndcg([...truth.get(qid)!.values()], [...good.scores.get(qid)!.values()]));
    expect(choice.alone[0]).toBeCloseTo(values.reduce((a, b) => a + b, 0) / values.length, 10);
    expect(choice.chosen).toBeGreaterThanOrEqual(Math.max(...choice.alone, choice.equal) - 1e-12);
    // Weights that did not see the query cannot be better on average than those that saw it.
    expect(choice.leftOut).toBeLessThanOrEqual(choice.chosen + 1e-12);
  });

  it('of equally good weights the even ones are taken', () => {
    const one = teacher('one', 0.5, 1);
    expect(chooseWeights(input([one, { ...one, name: 'same' }]))?.weights).toEqual([0.5, 0.5]);
  });

  it('three equal weights are no multiples of a tenth, and are tried', () => {
    const one = teacher('one', 1, 1);
    const same = ['a', 'b', 'c'].map((name) => ({ ...one, name }));
    expect(chooseWeights(input(same))?.weights).toEqual([1 / 3, 1 / 3, 1 / 3]);
  });

  it('many teachers are tried in larger steps', () => {
    const many = Array.from({ length: 7 }, (_, i) => teacher(`t${i}`, 1 + i, 1));
    const choice = chooseWeights({ ...input(many.slice(0, 6)), qrels: new Map([...truth].slice(0, 1)) });
    expect(choice?.weights).toHaveLength(6);
    expect(choice?.queries).toBe(1);
  });

  it('the mean of z-scores by hand; a query that a teacher does not know is left to the others, a passage is below its last', () => {
    const a: Teacher = {
      name: 'a',
      scores: new Map([
        [
          'q',
          new Map([
            ['x', 1],
            ['y', 3],
          ]),
        ],
        [
          'r',
          new Map([
            ['x', 2],
            ['y', 1],
          ]),
        ],
      ]),
    };
    const b: Teacher = {
      name: 'b',
      scores: new Map([
        [
          'q',
          new Map([
            ['y', 10],
            ['z', 20],
          ]),
        ],
      ]),
    };
    const run = blendAll([a, b], [0.75, 0.25], 'z');
    const z = (values: readonly number[]) => {
      const mean = values.reduce((s, v) => s + v, 0) / values.length;
      const deviation = Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / values.length);
      return values.map((v) => (v - mean) / deviation);
    };
    // Unknown passages: 5 % of the range below the last.
    const [first, second] = [z([1, 3, 1 - 0.05 * 2]), z([10 - 0.05 * 10, 10, 20])];
    expect(run.get('q')?.docids).toEqual(['x', 'y', 'z']);
    expect(Array.from(run.get('q')!.scores)).toEqual(
      first.map((s, i) => expect.closeTo(0.75 * s + 0.25 * second[i]!, 10)),
    );
    expect(Array.from(run.get('r')!.scores)).toEqual([1, -1]);
  });
});

describe('winnow ensemble', () => {
  const write = (name: string, { scores }: Teacher): string => {
    const lines = [...scores].flatMap(([qid, docs]) =>
      [...docs].map(([docid, score], i) => `${qid} Q0 ${docid} ${i + 1} ${score} t`),
    );
    writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
    return join(folder, name);
  };
  const files = [write('good.run', teacher('good', 0.5, 1)), write('bad.run', teacher('bad', 5, 9))];
  const teachers = files.flatMap((file) => ['--teacher', file]);
  const qrels = join(folder, 'held.qrels');
  writeFileSync(
    qrels,
    [...truth].flatMap(([qid, docs]) => [...docs].map(([d, grade]) => `${qid} 0 ${d} ${grade}`)).join('\n'),
  );

  it('prints the table, writes the choice, and applies it again with the same scores', async () => {
    const [choice, out, again] = ['weights.json', 'out.run', 'again.run'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const { code, output, error } = await winnow(
      'ensemble',
      ...teachers,
      '--qrels',
      qrels,
      '--choice',
      choice,
      '--out',
      out,
    );
    expect([code, error]).toEqual([0, '']);
    expect(output).toMatch(
      /teacher +weight +nDCG@10, 12 queries\ngood\.run .*\nbad\.run .*\nequal weights .*\nthese weights .*\nweights chosen without the query /,
    );
    expect(output).toContain(`${out}: 240 scores of 12 queries`);
    const written = JSON.parse(readFileSync(choice, 'utf8')) as {
      teachers: { file: string; weight: number; sha256: string }[];
    };
    expect(written.teachers.map(({ file }) => file)).toEqual(['good.run', 'bad.run']);
    expect(written.teachers[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect((await winnow('ensemble', ...teachers, '--weights', choice, '--out', again)).code).toBe(0);
    expect(await readTeacher(again, 'score')).toEqual(await readTeacher(out, 'score'));
  });

  it('refuses flags without effect, other weights, and judgements of other queries', async () => {
    const out = join(folder, 'no.run');
    const refused = async (...flags: readonly string[]) => {
      const { code, error } = await winnow('ensemble', ...teachers, ...flags, '--out', out);
      expect(code).toBe(2);
      return error;
    };
    expect(await refused()).toContain('expected --qrels or --weights, got neither');
    const choice = join(folder, 'one.json');
    writeFileSync(choice, JSON.stringify({ normalize: 'z', teachers: [{ file: 'a', weight: 1 }] }));
    expect(await refused('--qrels', qrels, '--weights', choice)).toContain('got both');
    expect(await refused('--weights', choice)).toContain(
      'expected the weights of 2 teachers, as --choice writes them, got those of 1',
    );
    expect(await refused('--weights', choice, '--choice', 'x.json')).toContain('--choice: expected --qrels');
    expect(await refused('--weights', choice, '--candidates', 'x.run')).toContain('--candidates: expected --qrels');
    const other = join(folder, 'other.qrels');
    writeFileSync(other, 'x 0 d1 1\n');
    expect(await refused('--qrels', other)).toContain('expected judgements of queries with lists');
    expect(existsSync(out)).toBe(false);
  });
});
