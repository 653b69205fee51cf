import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { parseManifest, writeManifest } from '../../src/registry/manifest.ts';
import { publish } from '../../src/registry/publish-version.ts';
import { logistic } from '../../src/statistics/calibration.ts';
import { dataSourceSchema } from '../../src/training/data/data-schema.ts';
import { skipCount } from '../../src/training/data/list-types.ts';
import { readGraded } from '../../src/training/publish/labeled-lists.ts';
import { createRandom } from '../../src/util/random.ts';
import { winnow } from '../support/command.ts';
import { WORDS, writeTinyModel } from '../support/tiny-model.ts';

/*
 * `winnow calibrate` on a served model. Labels are drawn from a known curve of the model's own logits, so that the map must come near it.
 */

const root = mkdtempSync(join(tmpdir(), 'winnow-calibrate-'));
const models = join(root, 'models');
const version = join(models, 'tiny', '1');
const random = createRandom(11);
const LISTS = 60;
const PASSAGES = 20;
/** The curve that labels are drawn from: odds of relevance at logit s. The untrained model's logits are within ±1. */
const [SLOPE, INTERCEPT] = [6, -1];
const words = (count: number): string => Array.from({ length: count }, () => WORDS[random.below(40)]!).join(' ');
const lists = Array.from({ length: LISTS }, (_, i) => ({
  query: `${WORDS[i % 40]!} ${WORDS[(7 * i + Math.floor(i / 40)) % 40]!}`,
  passages: Array.from({ length: PASSAGES }, (_, j) => words(2 + (j % 4))),
}));
const data = join(root, 'labeled.jsonl');
const WAIT = { timeout: 20_000, interval: 100 };
let server: ServerProcess;

interface Scored {
  readonly index: number;
  readonly relevance_score: number;
}
interface Answer {
  readonly results: readonly Scored[];
  readonly meta?: { readonly below_min_score?: number };
}

async function post(path: string, body: object): Promise<unknown> {
  const response = await fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(response.status).toBe(200);
  return response.json();
}
const rerank = async (list: (typeof lists)[number], more: object = {}): Promise<Answer> =>
  (await post('/v2/rerank', { model: 'tiny', query: list.query, documents: list.passages, ...more })) as Answer;
const info = async () => (await fetch(`${server.url}/info`)).json() as Promise<Record<string, unknown>>;
const listed = async (): Promise<{ readonly calibration?: object; readonly warnings?: readonly string[] }> => {
  const answer = (await (await fetch(`${server.url}/v1/models`)).json()) as { readonly data: readonly object[] };
  return answer.data[0] ?? {};
};
const byIndex = ({ results }: Answer): number[] =>
  results.toSorted((a, b) => a.index - b.index).map((result) => result.relevance_score);
const calibrate = (...more: readonly string[]) =>
  winnow('calibrate', '--model', 'tiny', '--models', models, '--format', 'jsonl', '--provider', 'cpu', ...more);

beforeAll(async () => {
  await publish(await writeTinyModel(join(root, 'source')), models, 'tiny');
  server = await startServerProcess({ flags: ['--registry-folder', models], env: { WINNOW_MODELS: '' } });
  const rows: string[] = [];
  for (const { query, passages } of lists) {
    const logits = byIndex(await rerank({ query, passages }, { raw_scores: true }));
    const labels = logits.map((logit) => +(random.next() < logistic(SLOPE * logit + INTERCEPT)));
    passages.forEach((passage, i) => {
      rows.push(JSON.stringify({ query, passage, label: labels[i] }));
    });
  }
  writeFileSync(data, `${rows.join('\n')}\n`);
}, 60_000);
afterAll(async () => {
  await server?.stop();
  rmSync(root, { recursive: true, force: true });
});

describe('lists of a calibration', () => {
  const hits = ['a', 'b', 'c'].map((docid, i) => ({ docid, content: `text ${docid}`, rank: i + 1, score: 3 - i }));
  const path = join(root, 'lists.json');
  const qrels = join(root, 'some.qrels');
  const read = async (judgedOnly: boolean) => {
    writeFileSync(
      path,
      JSON.stringify(['1', '2'].map((qid) => ({ query: `query ${qid}`, hits: hits.map((hit) => ({ ...hit, qid })) }))),
    );
    writeFileSync(qrels, '1 0 a 2\n1 0 c 0\n');
    const counts = skipCount();
    const source = dataSourceSchema.parse({ format: 'rank_llm', path, qrels });
    const { lists } = await readGraded({ data: [source], depth: 100, judgedOnly }, counts);
    return {
      lists: lists.map(({ qid, docids, relevance }) => ({ qid, docids, relevance })),
      leftOut: counts.skipped(),
    };
  };

  it('are those of judged queries; passages without a judgement are not relevant, or left out', async () => {
    expect(await read(false)).toEqual({
      lists: [{ qid: '1', docids: ['a', 'b', 'c'], relevance: [2, 0, 0] }],
      leftOut: { 'query without judgements': 1 },
    });
    expect(await read(true)).toEqual({
      lists: [{ qid: '1', docids: ['a', 'c'], relevance: [2, 0] }],
      leftOut: { 'query without judgements': 1, 'passage without a judgement': 1 },
    });
  });
});

describe('winnow calibrate', () => {
  it('has nothing to check of a model that is not calibrated', async () => {
    const { code, error } = await calibrate('--data', data, '--check');
    expect([code, error]).toEqual([
      2,
      expect.stringContaining('--check: expected a model whose served file is calibrated, got tiny@1'),
    ]);
  }, 60_000);

  it('makes relevance scores the probabilities of the labels; logits and order stay; the server says so', async () => {
    expect(await info()).toMatchObject({ score: 'sigmoid(logit) unless raw_scores', calibration: null });
    const list = lists[3]!;
    const [raw, before] = [await rerank(list, { raw_scores: true }), await rerank(list)];
    const { code, output, error } = await calibrate('--data', data, '--method', 'platt');
    expect(code, error).toBe(0);
    expect(output).toMatch(/tiny@1: 1200 pairs of 60 lists, \d+ relevant/);
    const manifest = parseManifest(JSON.parse(readFileSync(join(version, 'model.json'), 'utf8')));
    const map = manifest.calibration?.map;
    if (map?.method !== 'platt') throw new Error('no curve');
    expect(Math.abs(map.slope - SLOPE)).toBeLessThan(1.5);
    expect(Math.abs(map.intercept - INTERCEPT)).toBeLessThan(0.4);
    expect(manifest.calibration?.logLoss.after).toBeLessThan(manifest.calibration?.logLoss.before ?? 0);
    expect(manifest.calibration?.calibrationError.after).toBeLessThan(0.05);
    const card = readFileSync(join(version, 'README.md'), 'utf8');
    expect(card).toContain('expected calibration error');
    expect(readFileSync(join(version, 'README-calibration.svg'), 'utf8')).toContain('<svg');

    await vi.waitFor(async () => expect((await info()).calibration).not.toBeNull(), WAIT);
    expect(await info()).toMatchObject({
      score: 'calibrated probability unless raw_scores',
      calibration: { method: 'platt', data: ['labeled.jsonl'], lists: LISTS, pairs: LISTS * PASSAGES },
    });
    expect((await listed()).calibration).toMatchObject({ method: 'platt' });
    const after = await rerank(list);
    const logits = byIndex(raw);
    byIndex(after).forEach((p, i) => {
      expect(p).toBeCloseTo(logistic(map.slope * logits[i]! + map.intercept), 5);
    });
    expect(after.results.map(({ index }) => index)).toEqual(before.results.map(({ index }) => index));
    expect(byIndex(await rerank(list, { raw_scores: true }))).toEqual(logits.map((x) => expect.closeTo(x, 5)));
    // A score that was read keeps its passage, and the others above it.
    const tenth = after.results[9]!.relevance_score;
    const least = await rerank(list, { min_score: tenth });
    expect(least.results).toHaveLength(after.results.filter((result) => result.relevance_score >= tenth).length);
    const tei = (await post('/rerank', { query: list.query, texts: list.passages })) as { score: number }[];
    expect(tei.map(({ score }) => score)).toEqual(after.results.map(({ relevance_score: p }) => expect.closeTo(p, 5)));
  }, 60_000);

  it('checks the map of a model on lists, and writes nothing', async () => {
    const [manifest, card] = ['model.json', 'README.md'].map((file) => readFileSync(join(version, file), 'utf8'));
    const { code, output } = await calibrate('--data', data, '--check');
    expect(code).toBe(0);
    const [sigmoid, map] = output
      .split('\n')
      .slice(2, 4)
      .map((line) => line.split(/\s{2,}/));
    expect([sigmoid?.[0], map?.[0]]).toEqual(['sigmoid of the score', 'platt, as it is']);
    expect(Number(map?.[1])).toBeLessThan(Number(sigmoid?.[1]));
    // On the lists that it was fitted on, a map of maximum likelihood is at least as good as those that were fitted without a part of them.
    const { logLoss } = parseManifest(JSON.parse(manifest!)).calibration!;
    expect(Number(map?.[1])).toBeLessThan(logLoss.after + 1e-4);
    expect(Number(sigmoid?.[1])).toBeCloseTo(logLoss.before, 4);
    expect(output).toContain('wrote nothing');
    expect(readFileSync(join(version, 'model.json'), 'utf8')).toBe(manifest);
    expect(readFileSync(join(version, 'README.md'), 'utf8')).toBe(card);
    const both = await calibrate('--data', data, '--check', '--method', 'platt');
    expect([both.code, both.error]).toEqual([2, expect.stringContaining('--check')]);
  }, 60_000);

  it('a second calibration replaces the first, on the card too; another ONNX file ends it with a warning', async () => {
    const { code } = await calibrate('--data', data, '--method', 'isotonic');
    expect(code).toBe(0);
    const text = readFileSync(join(version, 'README.md'), 'utf8');
    expect(text.split('## Calibration')).toHaveLength(2);
    const manifest = parseManifest(JSON.parse(readFileSync(join(version, 'model.json'), 'utf8')));
    expect(manifest.calibration?.map.method).toBe('isotonic');
    await vi.waitFor(async () => expect((await listed()).calibration).toMatchObject({ method: 'isotonic' }), WAIT);
    const other = { ...manifest.calibration!, sha256: 'b'.repeat(64) };
    await writeManifest(version, { ...manifest, calibration: other });
    const warning = 'calibrated with another file than onnx/model.onnx: relevance scores are those of the sigmoid';
    await vi.waitFor(
      async () => expect((await listed()).warnings ?? []).toContainEqual(expect.stringContaining(warning)),
      WAIT,
    );
    expect((await listed()).calibration).toBeUndefined();
    expect(await info()).toMatchObject({ score: 'sigmoid(logit) unless raw_scores', calibration: null });
  }, 60_000);

  it('refuses labels that scores do not rise with, too few of a kind, and grades between 0 and 1', async () => {
    const before = readFileSync(join(version, 'model.json'), 'utf8');
    const rows = readFileSync(data, 'utf8')
      .trim()
      .split('\n')
      .map((row) => JSON.parse(row) as { label: number });
    const write = (name: string, labelOf: (label: number, i: number) => number) => {
      const lines = rows.map((row, i) => JSON.stringify({ ...row, label: labelOf(row.label, i) }));
      writeFileSync(join(root, name), `${lines.join('\n')}\n`);
      return join(root, name);
    };
    const turned = await calibrate(
      '--data',
      write('turned.jsonl', (label) => 1 - label),
    );
    expect([turned.code, turned.error]).toEqual([2, expect.stringContaining('that do not rise with them')]);
    const few = await calibrate(
      '--data',
      write('few.jsonl', (_, i) => +(i < 3)),
    );
    expect([few.code, few.error]).toEqual([2, expect.stringContaining('at least 10 pairs that are relevant, got 3')]);
    const soft = await calibrate(
      '--data',
      write('soft.jsonl', (label) => label / 2),
    );
    expect([soft.code, soft.error]).toEqual([2, expect.stringContaining('--min-relevance')]);
    const judged = await calibrate('--data', data, '--judged-only');
    expect([judged.code, judged.error]).toEqual([2, expect.stringContaining('--judged-only: expected --qrels')]);
    expect(readFileSync(join(version, 'model.json'), 'utf8')).toBe(before);
  });
});
