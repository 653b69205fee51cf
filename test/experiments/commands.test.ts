import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { ExperimentReport } from '../../src/experiments/analysis/report-data.ts';
import { type Lab, MODELS, openLab, SPLIT } from './lab.ts';

const ROOT = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'winnow-commands-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let lab: Lab;
let database: string;

/** A small experiment whose second arm gets twice the clicks. */
beforeAll(async () => {
  lab = await openLab(MODELS);
  database = join(lab.folder, 'experiments.sqlite');
  await lab.api.put('trial', { ...SPLIT, metrics: [{ name: 'clicks' }, { name: 'orders' }] }, 'ada');
  const outcomes = [];
  for (let i = 0; i < 400; i++) {
    const answer = await lab.ask(`user ${i}`, [1, 2, 3]);
    const clicks = (answer.experiment!.arm === 'b' ? 2 : 1) * (1 + (i % 3));
    outcomes.push({ request_id: `r${i + 1}`, metric: 'clicks', value: clicks });
    lab.clock.advance(300_000);
  }
  await lab.api.addOutcomes(outcomes);
});
afterAll(() => lab.close());

const run = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['bin/winnow.mjs', 'experiments', ...args], { cwd: ROOT }).then(
    ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
    (failure: { code: number; stdout: string; stderr: string }) => failure,
  );

describe('winnow experiments', () => {
  it('report: the verdict first, then tables; the same figures as JSON', async () => {
    const { stdout } = await run('report', 'trial', '--database', database);
    expect(stdout).toMatch(
      /^trial: split, 2026-11-01 00:00 to 2026-11-02 09:15 UTC, definition [0-9a-f]{12}\nb wins: clicks \+/,
    );
    expect(stdout).toContain('Sample ratio');
    const report = JSON.parse(
      (await run('report', 'trial', '--database', database, '--json')).stdout,
    ) as ExperimentReport;
    expect(report).toEqual(JSON.parse(JSON.stringify(await lab.api.report('trial'))));
    expect(report.verdict).toMatchObject({ state: 'win', winner: 'b' });
    const requests = async (since: string) => {
      const { stdout: json } = await run('report', 'trial', '--database', database, '--json', '--since', since);
      const { arms } = JSON.parse(json) as ExperimentReport;
      return arms.reduce((sum, arm) => sum + arm.requests, 0);
    };
    expect(await requests('2026-11-02T00:00:00Z')).toBe(112);
    expect(await requests(report.configHash)).toBe(400);
  });

  it('report --out: Markdown, JSON and a picture of each metric that has a lift', async () => {
    const out = join(folder, 'report');
    const { stdout } = await run(
      'report',
      'trial',
      '--database',
      database,
      '--out',
      out,
      '--until',
      '2026-11-03T00:00:00Z',
    );
    expect(stdout.trim().split('\n')).toEqual(
      ['report.json', 'report.md', 'clicks.svg'].map((file) => join(out, file)),
    );
    const page = readFileSync(join(out, 'report.md'), 'utf8');
    expect(page).toMatch(/^# trial: .*\n\nb wins: /);
    expect(page).toContain('![clicks over time](clicks.svg)');
    expect(readFileSync(join(out, 'clicks.svg'), 'utf8')).toMatch(/^<svg .*lift over control/s);
  });

  it('report --until: the state at an earlier time', async () => {
    const { stdout } = await run(
      'report',
      'trial',
      '--database',
      database,
      '--until',
      '2026-11-01T00:30:00Z',
      '--json',
    );
    expect((JSON.parse(stdout) as ExperimentReport).arms.reduce((sum, { units }) => sum + units, 0)).toBe(7);
  });

  it('list, check and plan', async () => {
    expect((await run('list', '--database', database)).stdout).toMatch(
      /trial\s+split\s+running\s+api .*a \(up\), b \(down\)/,
    );
    const check = await run('check', 'trial', '--database', database, '--runs', '200');
    expect(check.stdout).toMatch(/clicks\s+\d+\s+200\s+\d+\.\d %\s+2\.0 % to 8\.0 %/);
    const plan = await run('plan', 'trial', '--database', database, '--lift', '0.1', '--json');
    const { baseline, rows } = JSON.parse(plan.stdout);
    expect(baseline).toMatchObject({ metric: 'clicks', correlation: 0 });
    expect(baseline.mean).toBeCloseTo(2, 0);
    expect(rows[0].alwaysValid).toBeGreaterThan(rows[0].fixed);
    const daily = await run('plan', '--mean', '1', '--deviation', '1', '--lift', '0.2', '--daily', '785');
    expect(daily.stdout).toMatch(/20\.0 %\s+785\s+1\.0/);
  });

  it('validate: says what is wrong and where', async () => {
    const file = join(folder, 'experiments.yaml');
    writeFileSync(file, stringify({ experiments: [{ name: 'trial', ...SPLIT }] }));
    expect((await run('validate', file)).stdout).toBe(`${file}: 1 experiment(s) in order: trial\n`);
    const arms = SPLIT.arms.map((arm, i) => ({ ...arm, weight: 1 + i }));
    writeFileSync(file, stringify({ experiments: [{ name: 'trial', ...SPLIT, arms }] }));
    expect((await run('validate', file, '--database', database)).stdout).toMatch(
      /\nwarning: trial: 16\.7 % of the units seen so far get another arm or none, .*; `sticky: true` keeps them in their arm\n$/,
    );
    const absent = join(folder, 'absent.sqlite');
    expect((await run('validate', file, '--database', absent)).stdout).not.toContain('warning');
    expect(existsSync(absent)).toBe(false);
    writeFileSync(file, stringify({ experiments: [{ name: 'trial', ...SPLIT, control: 'z' }] }));
    const { code, stderr } = await run('validate', file);
    expect(code).toBe(2);
    expect(stderr).toContain('expected one of a, b, got "z" (string) (experiments.0.control)');
  });

  it('an unknown name lists the known ones', async () => {
    const { code, stderr } = await run('report', 'nothing', '--database', database);
    expect(code).toBe(2);
    expect(stderr).toContain('expected one of trial, got experiment nothing');
  });
});
