import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseExperiments } from '../../../src/experiments/definitions/definition.ts';
import { diffOf } from '../../../src/experiments/definitions/diff.ts';
import { type Lab, MODELS, openLab, SPLIT } from '../lab.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-definitions-'));
let lab: Lab;
let serial = 0;
afterEach(async () => {
  await lab?.close();
  rmSync(folder, { recursive: true, force: true });
});

const textOf = (...experiments: readonly object[]) => stringify({ experiments });
const TRIAL = { name: 'trial', ...SPLIT };

/** A lab that follows a file with this text. */
async function follow(text: string): Promise<string> {
  const file = join(mkdtempSync(join(tmpdir(), 'winnow-definitions-')), `experiments-${++serial}.yaml`);
  writeFileSync(file, text);
  lab = await openLab(MODELS, { file });
  return file;
}

/** Waits until something is so; the file is looked at every few milliseconds. */
async function until(is: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await is())) await new Promise((resolve) => setTimeout(resolve, 10));
}

const changed = (count: number) => until(() => lab.reported.changes.length >= count);
const names = () => lab.api.list().map(({ name }) => name);

describe('experiments.yaml', () => {
  it('takes effect when it changes: edited in place, renamed over, or behind a swapped link', async () => {
    const file = await follow(textOf(TRIAL));
    expect(names()).toEqual(['trial']);
    writeFileSync(file, textOf(TRIAL, { ...TRIAL, name: 'second' }));
    await until(() => names().length === 2);
    writeFileSync(`${file}.new`, textOf({ ...TRIAL, coverage: 0.5 }));
    renameSync(`${file}.new`, file);
    await until(() => names().length === 1);
    expect(lab.api.get('trial').definition.coverage).toBe(0.5);
    writeFileSync(`${file}.target`, textOf({ ...TRIAL, coverage: 0.7 }));
    symlinkSync(`${file}.target`, `${file}.link`);
    renameSync(`${file}.link`, file);
    await until(() => lab.api.get('trial').definition.coverage === 0.7);
  });

  it('every change is audited: who, when, what', async () => {
    const file = await follow(textOf(TRIAL));
    await changed(1);
    writeFileSync(file, textOf({ ...TRIAL, coverage: 0.5 }));
    await changed(2);
    writeFileSync(file, textOf());
    await changed(3);
    const audits = await lab.api.audits('trial');
    expect(audits.map(({ action }) => action)).toEqual(['created', 'changed', 'removed']);
    expect(audits[1]).toMatchObject({
      at: lab.clock.now(),
      experiment: 'trial',
      diff: '- coverage: 1\n+ coverage: 0.5',
      who: expect.stringMatching(/^experiments-\d+\.yaml \(uid \d+\)$/),
    });
  });

  it('a broken file changes nothing and is reported once; mending it takes effect', async () => {
    const file = await follow(textOf(TRIAL));
    writeFileSync(file, 'experiments: [{name: trial, mode: [}]');
    await until(() => lab.reported.problems.length > 0);
    writeFileSync(file, textOf({ ...TRIAL, control: 'nobody' }));
    await until(() => lab.reported.problems.length > 1);
    expect(
      lab.reported.problems.map(({ where, reason }) => [where, reason.replace(/experiments-\d+/, 'experiments')]),
    ).toEqual([
      ['file', expect.stringMatching(/^experiments\.yaml: expected YAML, got .*\(line 1\)$/)],
      ['file', 'experiments.yaml: expected one of a, b, got "nobody" (string) (experiments.0.control)'],
    ]);
    expect(names()).toEqual(['trial']);
    expect((await lab.ask('u', [1, 2])).experiment?.name).toBe('trial');
    rmSync(file);
    await until(() => lab.reported.problems.length > 2);
    expect(names()).toEqual(['trial']);
    for (const [i, text] of ['', ' \n'].entries()) {
      writeFileSync(file, text);
      await until(() => lab.reported.problems.length > 3);
      expect(lab.reported.problems).toHaveLength(4);
      expect(lab.reported.problems[3]!.reason).toMatch(/expected `experiments: \[\]` .*, got an empty file/);
      expect([i, names()]).toEqual([i, ['trial']]);
    }
    writeFileSync(file, textOf({ ...TRIAL, coverage: 0 }));
    await until(() => lab.api.get('trial').definition.coverage === 0);
  });

  it('what changed while no server ran is audited at the next start', async () => {
    const file = await follow(textOf(TRIAL));
    const database = join(folder, 'kept.sqlite');
    for (const coverage of [1, 0.25]) {
      writeFileSync(file, textOf({ ...TRIAL, coverage }));
      const later = await openLab(MODELS, { file, database });
      expect(later.reported.changes.map(({ action, diff }) => [action, diff.includes('coverage')])).toEqual([
        [coverage === 1 ? 'created' : 'changed', true],
      ]);
      await later.close();
    }
  });

  it('a missing file at the start leaves the server without experiments, and is taken when it comes', async () => {
    const file = join(folder, `late-${++serial}.yaml`);
    lab = await openLab(MODELS, { file });
    expect(lab.reported.problems).toMatchObject([{ where: 'file', reason: expect.stringContaining('ENOENT') }]);
    expect((await lab.ask('u', [1])).experiment).toBeUndefined();
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, textOf(TRIAL));
    await until(() => names().length === 1);
  });
});

describe('the admin API', () => {
  it('keeps what it is given: over restarts, and for other servers of the database', async () => {
    lab = await openLab(MODELS);
    const { created, view } = await lab.api.put('trial', SPLIT, 'ada');
    expect(created).toBe(true);
    expect(view).toMatchObject({ name: 'trial', status: 'running', source: 'api', tripped: [] });
    const other = await openLab(MODELS, { database: `${lab.folder}/experiments.sqlite` });
    expect(other.api.get('trial').configHash).toBe(view.configHash);
    expect((await lab.api.put('trial', { ...SPLIT, coverage: 0.5 }, 'bob')).created).toBe(false);
    other.clock.advance(10_000);
    await other.service.settled();
    expect(other.api.get('trial').definition.coverage).toBe(0.5);
    await lab.api.remove('trial', 'bob');
    other.clock.advance(10_000);
    await other.service.settled();
    expect(other.api.list()).toEqual([]);
    await other.close();
    expect((await lab.api.audits('trial')).map(({ who, action }) => [who, action])).toEqual([
      ['ada', 'created'],
      ['bob', 'changed'],
      ['bob', 'removed'],
    ]);
  });

  it('cannot change what the file defines', async () => {
    await follow(textOf(TRIAL));
    for (const change of [lab.api.put('trial', SPLIT, 'ada'), lab.api.remove('trial', 'ada')])
      await expect(change).rejects.toMatchObject({ code: 'experiment_in_file' });
    await lab.api.put('other', SPLIT, 'ada');
    expect(lab.api.list().map(({ name, source }) => [name, source])).toEqual([
      ['trial', 'file'],
      ['other', 'api'],
    ]);
  });

  it('refuses what is wrong, naming the field', async () => {
    lab = await openLab(MODELS);
    const put = (definition: unknown, name = 'trial') => lab.api.put(name, definition, 'ada');
    await expect(put({ ...SPLIT, name: 'other' })).rejects.toMatchObject({ code: 'invalid_field' });
    await expect(put({ ...SPLIT, coverage: 2 })).rejects.toThrow(/got 2 \(number\) \(coverage\)/);
    await expect(put({ ...SPLIT, control: 'z' })).rejects.toMatchObject({ code: 'invalid_experiments' });
    await expect(put(7)).rejects.toMatchObject({ code: 'invalid_experiments' });
    await expect(put(SPLIT, 'bad name')).rejects.toMatchObject({ code: 'invalid_experiments' });
    await expect(lab.api.remove('trial', 'ada')).rejects.toMatchObject({ code: 'unknown_experiment' });
    expect(lab.api.list()).toEqual([]);
  });

  it('putting the same again changes nothing', async () => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', SPLIT, 'ada');
    await lab.api.put('trial', SPLIT, 'bob');
    expect(await lab.api.audits('trial')).toHaveLength(1);
  });
});

describe('a diff', () => {
  it('names every field that changed', () => {
    expect(diffOf({ a: 1, b: { c: [1, 2] }, d: 'x' }, { a: 2, b: { c: [1] }, e: [] })).toBe(
      ['- a: 1', '+ a: 2', '- b.c.1: 2', '- d: "x"', '+ e: []'].join('\n'),
    );
    expect(diffOf(undefined, { a: 1 })).toBe('+ a: 1');
    expect(diffOf({ a: 1 }, { a: 1 })).toBe('');
  });
});

describe('the file’s text', () => {
  it('an empty file defines nothing', () => {
    expect(parseExperiments('', 'f')).toEqual([]);
  });

  it.each([
    ['experiments: 3', /experiments\)$/],
    [textOf(TRIAL, TRIAL), /distinct names, got .*experiments\.1\.name/],
    [textOf({ ...TRIAL, arms: [TRIAL.arms[0]] }), /experiments\.0\.arms/],
    [textOf({ ...TRIAL, metrics: [{ name: 'ctr', kind: 'ratio' }] }), /`denominator` for a ratio metric/],
    [textOf({ ...TRIAL, metrics: [{ name: 'ctr', numerator: 'clicks' }] }), /no `numerator` for a mean/],
    [textOf({ ...TRIAL, start: '2026-01-02T00:00:00Z', end: '2026-01-01T00:00:00Z' }), /a time after start/],
    [textOf({ ...TRIAL, surprise: true }), /experiments\.0/],
  ])('%s', (text, message) => {
    expect(() => parseExperiments(text, 'experiments.yaml')).toThrow(message);
  });
});
