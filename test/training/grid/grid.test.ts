import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Job } from 'kubernetes-models/batch/v1/Job';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { PAPER_GRID, readGridData } from '../../../src/reports/grid-data.ts';
import {
  type CellResult,
  collect,
  combinations,
  freeze,
  fullCells,
  searchCells,
} from '../../../src/training/grid/grid.ts';
import { trainedGridReport } from '../../../src/training/grid/grid-report.ts';
import { readGrid } from '../../../src/training/grid/grid-schema.ts';
import { runCells } from '../../../src/training/grid/run-cells.ts';
import { tinyData, WORDS, writeTinyModel } from '../../support/tiny-model.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'winnow-grid-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const GRID = {
  name: 'tiny',
  recipe: {
    data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 5, equalNegatives: true } },
    validation: { data: { format: 'rank-llm', path: 'valid.json', qrels: 'valid.qrels' }, every: 100 },
    batch: { queries: 4, bucketBatches: 2 },
    steps: 20,
    maxLength: 16,
    dropout: 'off',
    threads: 1,
    guards: { action: 'warn' },
  },
  objectives: ['InfoNCE', 'MarginMSE'],
  backbones: [
    { name: 'small', path: 'small', group: 'mini' },
    { name: 'other', path: 'other', group: 'base', settings: { optimizer: { weightDecay: 0 } } },
  ],
  seeds: [1, 2],
  search: { parameters: { 'optimizer.learningRate': [1e-9, 0.03] }, objectives: ['InfoNCE'], seeds: [1], steps: 40 },
  benchmarks: { second: { data: { format: 'rank-llm', path: 'valid.json', qrels: 'valid.qrels' }, measure: 'RR@10' } },
};
const put = (name: string, grid: object): string => {
  writeFileSync(join(folder, name), JSON.stringify(grid));
  return join(folder, name);
};

beforeAll(async () => {
  await writeTinyModel(join(folder, 'small'));
  await writeTinyModel(join(folder, 'other'));
  tinyData(join(folder, 'lists.jsonl'), 200);
  // Every query against all answers, its own one in the middle of the list.
  const hits = (q: number) =>
    Array.from({ length: 20 }, (_, i) => ({
      qid: `q${q}`,
      docid: `d${i}`,
      score: -i,
      content: WORDS[20 + ((i + q + 10) % 20)],
    }));
  const answer = (q: number) => hits(q).findIndex(({ content }) => content === WORDS[20 + q]);
  writeFileSync(
    join(folder, 'valid.json'),
    JSON.stringify(
      Array.from({ length: 20 }, (_, q) => ({
        query: WORDS[q],
        hits: hits(q).map((hit, i) => ({ ...hit, docid: `${q}-${i}` })),
      })),
    ),
  );
  writeFileSync(
    join(folder, 'valid.qrels'),
    Array.from({ length: 20 }, (_, q) => `q${q} 0 ${q}-${answer(q)} 1`).join('\n'),
  );
});

describe('a grid', () => {
  it('has one cell per combination, in folders named by a hash of all that decides it', () => {
    expect(combinations({ a: [1, 2], b: ['x', 'y'] })).toEqual([
      { a: 1, b: 'x' },
      { a: 1, b: 'y' },
      { a: 2, b: 'x' },
      { a: 2, b: 'y' },
    ]);
    const loaded = readGrid(put('grid.yaml', GRID));
    const search = searchCells(loaded);
    expect(
      search.map(({ backbone, objective, seed, parameters }) => [
        backbone,
        objective,
        seed,
        parameters['optimizer.learningRate'],
      ]),
    ).toEqual([
      ['small', 'InfoNCE', 1, 1e-9],
      ['small', 'InfoNCE', 1, 0.03],
      ['other', 'InfoNCE', 1, 1e-9],
      ['other', 'InfoNCE', 1, 0.03],
    ]);
    expect(search[1]!.recipe).toMatchObject({
      steps: 40,
      seed: 1,
      objective: 'InfoNCE',
      optimizer: { learningRate: 0.03 },
    });
    expect(search[3]!.recipe.optimizer.weightDecay).toBe(0);
    const full = fullCells(
      loaded,
      new Map([
        ['mini', { 'optimizer.learningRate': 0.03 }],
        ['base', {}],
      ]),
    );
    expect(new Set(full.map((cell) => cell.id)).size).toBe(8);
    expect(full[0]!.recipe).toMatchObject({ steps: 20, optimizer: { learningRate: 0.03 } });
    const changed = readGrid(put('changed.yaml', { ...GRID, recipe: { ...GRID.recipe, steps: 21 } }));
    expect(fullCells(changed, new Map())[0]!.id).not.toBe(fullCells(loaded, new Map())[0]!.id);
  });

  it('keeps the folders of its cells when recipes get further settings, so that a grid goes on after an update', () => {
    const validation = { data: { format: 'rank-llm', path: 'valid.json', qrels: 'valid.qrels' } };
    const idOf = (more: object) => {
      const recipe = { ...GRID.recipe, validation: { ...validation, ...more } };
      return fullCells(readGrid(put('kept.yaml', { ...GRID, recipe })), new Map())[0]!.id;
    };
    // A new setting with a default has to be left out of the hash where it has that default.
    expect(idOf({})).toBe('small-infonce-1-d64c5e2d');
    expect(idOf({ weights: 'best' })).toBe(idOf({}));
    expect(idOf({ weights: 'last' })).not.toBe(idOf({}));
  });

  it('freezes the best mean, one per group or one for all, without combinations that fail', () => {
    const { grid } = readGrid(put('grid.yaml', GRID));
    const result = (group: string, lr: number, validation?: number): CellResult => ({
      cell: { phase: 'search', backbone: 'b', group, objective: 'o', seed: 1, parameters: { lr }, id: 'x' },
      step: 1,
      benchmarks: {},
      ...(validation === undefined ? { failed: 'diverged' } : { validation }),
    });
    const results = [
      result('mini', 1, 0.5),
      result('mini', 2, 0.4),
      result('base', 1, 0.1),
      result('base', 2, 0.9),
      result('base', 3, 0.99),
      result('base', 3),
    ];
    expect(Object.fromEntries(freeze(grid, results))).toEqual({ mini: { lr: 1 }, base: { lr: 2 } });
    const all = { ...grid, search: { ...grid.search!, by: 'all' as const } };
    expect(Object.fromEntries(freeze(all, results))).toEqual({ mini: { lr: 2 }, base: { lr: 2 } });
  });

  it('faults are named', () => {
    expect(() => readGrid(put('bad.yaml', { ...GRID, seeds: [-1], extra: 1 }))).toThrow(/2 fault\(s\)[\s\S]*seeds\.0/);
    expect(() =>
      searchCells(readGrid(put('bad.yaml', { ...GRID, search: { ...GRID.search, objectives: ['Nope'] } }))),
    ).toThrow(/expected one of InfoNCE, MarginMSE, got Nope/);
    const { validation: _, ...blind } = GRID.recipe;
    expect(() => searchCells(readGrid(put('bad.yaml', { ...GRID, recipe: blind })))).toThrow(
      /by whose value the search chooses/,
    );
  });

  it('runs: search by shards, the full grid once and only once, one report', async () => {
    const loaded = readGrid(put('grid.yaml', GRID));
    const runs = join(folder, 'runs');
    const search = searchCells(loaded);
    for (const index of [0, 1]) await runCells(loaded.grid, search, runs, { shard: { index, of: 2 } });
    const { done, missing } = await collect(runs, search);
    expect([done.length, missing.length]).toEqual([4, 0]);
    const frozen = freeze(loaded.grid, done);
    expect([...frozen.values()]).toEqual([{ 'optimizer.learningRate': 0.03 }, { 'optimizer.learningRate': 0.03 }]);
    const full = fullCells(loaded, frozen);
    // Stopped in the middle of the second cell, and started again.
    const stop = new AbortController();
    await runCells(loaded.grid, full, runs, {
      shard: { index: 0, of: 1 },
      signal: stop.signal,
      onCell: (_, place) => ({ onStep: ({ step }) => place === 2 && step === 5 && stop.abort() }),
    });
    expect((await collect(runs, full)).done.length).toBe(1);
    const steps: number[] = [];
    const starts: number[] = [];
    const scored = new Map<string, number[]>();
    await runCells(loaded.grid, full, runs, {
      shard: { index: 0, of: 1 },
      onCell: (_, place) => ({
        onStart: ({ from }) => place === 2 && starts.push(from),
        onStep: ({ step }) => place === 2 && steps.push(step),
        onBenchmark: (name, done, pairs) =>
          place === 2 && scored.set(name, [...(scored.get(name) ?? []), done / pairs]),
      }),
    });
    expect([starts, steps[0]]).toEqual([[5], 6]);
    expect([...scored.keys()]).toEqual(Object.keys(loaded.grid.benchmarks));
    for (const shares of scored.values()) {
      expect(shares.at(-1)).toBe(1);
      expect(shares).toEqual([...shares].sort((a, b) => a - b));
    }
    const again: string[] = [];
    await runCells(loaded.grid, full, runs, {
      shard: { index: 0, of: 1 },
      onCell(cell) {
        again.push(cell.id);
        return {};
      },
    });
    expect(again).toEqual([]);
    const results = (await collect(runs, full)).done;
    expect(results.every((r) => r.benchmarks.second! > 0 && r.benchmarks.second! <= 1)).toBe(true);
    expect(readdirSync(join(runs, 'full', full[0]!.id))).not.toContain('checkpoints');
    const report = trainedGridReport(loaded.grid, frozen, results);
    expect(report.sections.map((section) => section.title)).toEqual(
      expect.arrayContaining([
        'Objectives by mean rank',
        'Over seeds',
        'Over queries',
        'Differences over queries',
        'Validation while training, small',
        'Hyper-parameters found',
      ]),
    );
    const partial = trainedGridReport(loaded.grid, frozen, results.slice(0, 1)).sections;
    const oneSeed = partial.find(({ title }) => title === 'Over seeds');
    if (oneSeed?.kind !== 'table') throw new Error('no table of seeds');
    expect(oneSeed.rows.map((row) => row[2]?.text)).toEqual([
      expect.stringMatching(/^[01]\.\d{4} \(1\)$/),
      '–',
      '–',
      '–',
    ]);
    const notes = partial.find(({ title }) => title === 'Notes');
    expect(notes).toMatchObject({
      paragraphs: [
        expect.stringContaining('Seeds 1, 2'),
        'small, InfoNCE: no result yet of seed 2',
        'small, MarginMSE: no result yet of seed 1, 2',
        'other, InfoNCE: no result yet of seed 1, 2',
        'other, MarginMSE: no result yet of seed 1, 2',
      ],
    });
    // The benchmark's value is the mean of its queries; the search, which chooses by validation, has not looked at it.
    const one = results[0]!;
    expect(one.perQuery!.second!.length).toBe(20);
    expect(one.perQuery!.second!.reduce((a, b) => a + b, 0) / 20).toBeCloseTo(one.benchmarks.second!, 5);
    expect(done.map(({ benchmarks }) => Object.keys(benchmarks))).toEqual(done.map(() => ['validation']));
    expect(one.curve).toEqual([
      [0, one.base],
      [20, expect.any(Number)],
    ]);
    expect(() => trainedGridReport(loaded.grid, frozen, results, PAPER_GRID)).toThrow(/at least 3 of the objectives/);
    const output = execFileSync(
      process.execPath,
      [join(ROOT, 'bin', 'winnow.mjs'), 'grid', join(folder, 'grid.yaml'), '--run', runs],
      { encoding: 'utf8', cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] },
    );
    expect(output).toContain(join(runs, 'report', 'report.html'));
    expect(readFileSync(join(runs, 'report', 'report.md'), 'utf8')).toContain('Grid tiny');
    expect((await readGridData(join(runs, 'grid.json'))).rows.length).toBe(4);
    const lines = readFileSync(join(runs, 'cells.jsonl'), 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).cell.id).sort()).toEqual(full.map((cell) => cell.id).sort());
  }, 120_000);

  it('is explained: runs, steps, memory and time, and cells whose files are missing', () => {
    const one = { ...GRID.search, parameters: { 'optimizer.learningRate': [0.01] }, backbones: ['small'], steps: 7 };
    const absent = { ...GRID.backbones[1]!, name: 'absent', path: 'nowhere' };
    put('explain.yaml', { ...GRID, search: one, objectives: ['InfoNCE'], backbones: [GRID.backbones[0], absent] });
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [join(ROOT, 'bin', 'winnow.mjs'), 'grid', join(folder, 'explain.yaml'), '--explain'],
      { encoding: 'utf8', cwd: folder },
    );
    const [head, small, missing, total] = stdout.split('\n').map((line) => line.split(/ {2,}/));
    expect(head!.slice(0, 4)).toEqual(['backbone', 'objective', 'runs', 'steps']);
    // Two seeds of 20 steps, and a run of the search of 7.
    expect(small!.slice(0, 4)).toEqual(['small', 'InfoNCE', '1 + 2', '47']);
    expect(Number(small![6])).toBeGreaterThan(0);
    expect(missing).toEqual(['absent', 'InfoNCE', '0 + 2', '40', '–', '–', '–', '–']);
    expect(total![0]).toMatch(/^\d+\.\d hours of training in all/);
    expect(stderr).toMatch(/expected files for all cells, got 1 of 2 without: .*nowhere/);
    expect(status).toBe(2);
    expect(readdirSync(folder)).not.toContain('runs/tiny');
  }, 60_000);

  it('a run that diverges is reported and does not end the grid', async () => {
    const wild = {
      ...GRID.recipe,
      optimizer: { learningRate: 1e30, clipNorm: 1e30 },
      schedule: { name: 'constant', warmup: 0 },
    };
    const { search: _, ...rest } = GRID;
    const loaded = readGrid(
      put('wild.yaml', {
        ...rest,
        recipe: wild,
        objectives: ['InfoNCE'],
        backbones: GRID.backbones.slice(0, 1),
        seeds: [1],
      }),
    );
    const cells = fullCells(loaded, new Map());
    const runs = join(folder, 'wild');
    await runCells(loaded.grid, cells, runs, { shard: { index: 0, of: 1 } });
    const { done } = await collect(runs, cells);
    expect(done[0]!.failed).toMatch(/training stopped at step/);
    const report = trainedGridReport(loaded.grid, new Map(), done);
    expect(JSON.stringify(report.sections)).toContain('training stopped at step');
    expect(existsSync(join(runs, 'full', cells[0]!.id, 'result.json'))).toBe(true);
  });
});

describe('k8s/jobs/train-grid', () => {
  it('is a valid Job with as many shards as completions', () => {
    const job = parse(readFileSync(join(ROOT, 'k8s', 'jobs', 'train-grid', 'job.yaml'), 'utf8'));
    expect(() => new Job(job).validate()).not.toThrow();
    const { completions, parallelism, template } = job.spec;
    expect(template.spec.containers[0].args).toContain(`$(JOB_COMPLETION_INDEX)/${completions}`);
    expect(parallelism).toBe(completions);
  });
});
