import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataSourceSchema } from '../../../src/training/data/data-schema.ts';
import { runRecipe } from '../../../src/training/publish/run-recipe.ts';
import { type LoadedRecipe, parseRecipe } from '../../../src/training/recipe/recipe.ts';
import { mineToFile } from '../../../src/training/teachers/mine-to-file.ts';
import { withLock } from '../../../src/util/lock-file.ts';
import { tinyData, WORDS, writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-safety-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 100);
  const dev = Array.from({ length: 4 }, (_, q) => ({
    query: WORDS[q],
    hits: Array.from({ length: 8 }, (_, i) => ({
      qid: `${q}`,
      docid: `d${q}-${i}`,
      content: WORDS[20 + ((q + i + 3) % 20)],
      rank: i + 1,
      score: -i,
    })),
  }));
  writeFileSync(join(folder, 'dev.json'), JSON.stringify(dev));
  writeFileSync(join(folder, 'dev.qrels'), dev.map((_, q) => `${q} 0 d${q}-5 1\n`).join(''));
});

const VALIDATION = { data: { format: 'rank-llm', path: 'dev.json', qrels: 'dev.qrels' }, every: 4 };

const documentOf = (over: object = {}) => ({
  name: 'tiny',
  backbone: 'tiny',
  objective: 'InfoNCE',
  data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 3 } },
  validation: VALIDATION,
  batch: { queries: 4, bucketBatches: 2 },
  steps: 12,
  maxLength: 16,
  optimizer: { learningRate: 0.01 },
  checkpoint: { every: 4 },
  threads: 1,
  ...over,
});

function recipe(over: object = {}): LoadedRecipe {
  const document = documentOf(over);
  return { recipe: parseRecipe(document, 'test'), folder, source: JSON.stringify(document) };
}

/** Runs a recipe; also returns the warnings and the steps taken. */
async function run(loaded: LoadedRecipe, name: string, stopAt?: number) {
  const warnings: string[] = [];
  const losses: number[] = [];
  const stop = new AbortController();
  const result = await runRecipe(
    loaded,
    join(folder, name),
    {
      onWarning: (text) => void warnings.push(text),
      onStep({ step, loss }) {
        losses.push(loss);
        if (step === stopAt) stop.abort();
      },
    },
    stop.signal,
  );
  return { ...result, warnings, losses };
}

const inRun = (name: string, ...path: string[]) => join(folder, name, ...path);
const bytesOf = (name: string) => readFileSync(inRun(name, 'best.safetensors'));

describe('checkpoints', () => {
  it.each([
    [
      'with changed bytes',
      (path: string) =>
        writeFileSync(
          path,
          readFileSync(path).map((byte, i) => (i === 900 ? byte ^ 1 : byte)),
        ),
    ],
    ['cut short', (path: string) => writeFileSync(path, readFileSync(path).subarray(0, 700))],
    ['empty', (path: string) => writeFileSync(path, '')],
    [
      'of other facts',
      (path: string) =>
        writeFileSync(path, readFileSync(path, 'latin1').replace('\\"stale\\":', '\\"stalk\\":'), 'latin1'),
    ],
  ])('a newest one %s is told, and the one before is continued from, bit for bit', async (what, damage) => {
    const name = `damaged-${what}`;
    const whole = await run(recipe(), `${name}-whole`);
    const first = await run(recipe(), name, 8);
    damage(inRun(name, 'checkpoints', 'checkpoint-8.safetensors'));
    const second = await run(recipe(), name);
    expect(second.warnings).toEqual([expect.stringMatching(/checkpoint-8.safetensors.*going on from step 4$/)]);
    expect([...first.losses.slice(0, 4), ...second.losses]).toEqual(whole.losses);
    expect(bytesOf(name)).toEqual(bytesOf(`${name}-whole`));
  });

  it('all of them damaged: the run begins again and says so', async () => {
    await run(recipe(), 'ruined', 8);
    for (const file of readdirSync(inRun('ruined', 'checkpoints')))
      writeFileSync(inRun('ruined', 'checkpoints', file), 'x');
    const { warnings, losses } = await run(recipe(), 'ruined');
    expect(warnings).toHaveLength(2);
    expect(warnings[1]).toMatch(/going on from step 0$/);
    expect(losses).toHaveLength(12);
  });

  it('without base.json the untrained model is measured, not the trained one', async () => {
    const { outcome } = await run(recipe(), 'base', 8);
    rmSync(inRun('base', 'base.json'));
    const again = await run(recipe(), 'base');
    expect(again.outcome.validation!.base).toBe(outcome.validation!.base);
  });
});

describe('the best weights', () => {
  it('of another run, missing or damaged are refused before the next step', async () => {
    await run(recipe({ seed: 2 }), 'best-other');
    await run(recipe(), 'best', 8);
    const file = inRun('best', 'best.safetensors');
    renameSync(file, `${file}.kept`);
    const refused = (got: RegExp) => expect(run(recipe(), 'best')).rejects.toThrow(got);
    await refused(
      /best.safetensors: expected the best weights of this run \(\w+, step \d+\), got no file; remove .* to train again/,
    );
    copyFileSync(inRun('best-other', 'best.safetensors'), file);
    await refused(/got those of [0-9a-f]{16}; remove/);
    writeFileSync(file, readFileSync(`${file}.kept`).subarray(0, 900));
    await refused(/got .*best.safetensors.*; remove/);
    renameSync(`${file}.kept`, file);
    expect((await run(recipe(), 'best')).outcome.done).toBe(12);
  });
});

describe('a run that is finished', () => {
  it('says where it is published and leaves the registry as it is', async () => {
    const publish = { registry: 'finished', label: 'stable' };
    const first = await run(recipe({ publish }), 'finished-run');
    expect(first.published).toMatchObject({ version: '1', already: false });
    const labels = join(folder, 'finished', 'tiny', 'labels.json');
    writeFileSync(labels, '{"stable":"0"}');
    const second = await run(recipe({ publish }), 'finished-run');
    expect(second.published).toEqual({ ...first.published, already: true });
    expect(second.losses).toEqual([]);
    expect(readFileSync(labels, 'utf8')).toBe('{"stable":"0"}');
    // Other settings make another version, and so does a version that was removed.
    const longer = await run(recipe({ publish: { ...publish, maxLength: 24 } }), 'finished-run');
    expect(longer.published).toMatchObject({ version: '2', already: false });
    rmSync(join(folder, 'finished', 'tiny', '1'), { recursive: true });
    expect((await run(recipe({ publish }), 'finished-run')).published).toMatchObject({ version: '3', already: false });
  });

  it('by patience takes no further step when it is started again', async () => {
    const patient = recipe({
      validation: { ...VALIDATION, every: 1, patience: 1 },
      optimizer: { learningRate: 1e-9 },
      guards: { action: 'warn' },
    });
    const first = await run(patient, 'patient');
    expect(first.losses.length).toBeLessThan(12);
    const second = await run(patient, 'patient');
    expect(second.losses).toEqual([]);
    expect(second.outcome.step).toBe(first.outcome.step);
  });

  it('is not published when it was stopped, even at its last step', async () => {
    const publish = { registry: 'stopped' };
    expect((await run(recipe({ publish }), 'stopped-run', 12)).published).toBeUndefined();
    expect((await run(recipe({ publish }), 'stopped-run')).published).toMatchObject({ version: '1', already: false });
  });
});

describe('publish settings are checked before training', () => {
  const file = (name: string) => {
    writeFileSync(join(folder, name), '');
    return name;
  };
  it.each([
    [{ name: 'a/b' }, /expected letters, digits.*got a\/b \(name\)/],
    [{ name: 'a..b' }, /got a\.\.b \(name\)/],
    [{ label: 'not a label' }, /got not a label \(label\)/],
    [
      { registry: file('plain') },
      /plain: expected a registry folder that this user can write to, got (EEXIST|ENOTDIR)/,
    ],
    [{ registry: `${file('other')}/below` }, /got ENOTDIR/],
  ])('%j', async (publish, message) => {
    await expect(run(recipe({ publish }), 'checked')).rejects.toThrow(message);
    expect(readdirSync(inRun('checked'))).toEqual([]);
  });

  it('labels that cannot be read, and a file in the place of the model', async () => {
    mkdirSync(join(folder, 'broken', 'tiny'), { recursive: true });
    writeFileSync(join(folder, 'broken', 'tiny', 'labels.json'), '[');
    writeFileSync(join(folder, 'broken', 'other'), '');
    const publish = { registry: 'broken', label: 'stable' };
    await expect(run(recipe({ publish }), 'checked')).rejects.toThrow(/labels.json/);
    await expect(run(recipe({ publish: { ...publish, name: 'other' } }), 'checked')).rejects.toThrow(/got a file/);
  });
});

describe('winnow train', () => {
  const start = (file: string, name: string): ChildProcess =>
    spawn(
      process.execPath,
      [join(import.meta.dirname, '..', '..', '..', 'bin', 'winnow.mjs'), 'train', file, '--run', join(folder, name)],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
  const put = (name: string, over: object): string => {
    writeFileSync(join(folder, name), JSON.stringify(documentOf(over)));
    return join(folder, name);
  };
  /** Collects standard error; resolves when the process has ended. */
  async function ended(child: ChildProcess): Promise<{ code: number; error: string }> {
    let error = '';
    child.stderr!.on('data', (chunk: Buffer) => (error += chunk));
    const [code] = await once(child, 'close');
    return { code, error };
  }

  it('says at a signal where it stopped; a second run in the folder is refused by pid, whatever its recipe', async () => {
    const long = put('long.json', { steps: 100_000, checkpoint: { every: 100_000 }, validation: undefined });
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const first = start(long, 'signals');
      const result = ended(first);
      // The first step is in the curve, and the process runs on.
      await new Promise<void>((resolve) =>
        first.stderr!.on('data', (text) => `${text}`.includes('train ') && resolve()),
      );
      if (signal === 'SIGINT') {
        const other = put('other.json', { steps: 3, objective: 'BCE' });
        const refused = await ended(start(other, 'signals'));
        expect(refused.code).toBe(1);
        expect(refused.error).toContain(`got pid ${first.pid} since`);
      }
      first.kill(signal);
      const { code: found, error } = await result;
      expect(found).toBe(code);
      const [, step] = /\nstopped at step (\d+) of 100000, run it again to go on\n$/.exec(error)!;
      expect(readdirSync(inRun('signals', 'checkpoints'))).toContain(`checkpoint-${step}.safetensors`);
    }
  });
});

describe('output files', () => {
  it('are written by one process at a time', async () => {
    const out = join(folder, 'mined.jsonl');
    const data = dataSourceSchema.parse({ format: 'jsonl', path: join(folder, 'lists.jsonl') });
    const settings = {
      ranks: [1, 10],
      negatives: 2,
      strategy: 'top',
      seed: 1,
      teacherMargin: undefined,
      teacherRatio: undefined,
    } as const;
    const mine = () => mineToFile({ data, settings, out }, () => ({ update() {}, stop() {} }));
    await withLock(`${out}.lock`, '', async () => {
      await expect(mine()).rejects.toThrow(`${out}: expected no other process`);
    });
    expect((await mine()).queries).toBeGreaterThan(0);
  });
});
