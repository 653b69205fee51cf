import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { openSuiteModels } from '../../src/main/suite-models.ts';
import { openTeachers } from '../../src/main/teacher-scorers.ts';
import { writeGraph } from '../../src/main/write-graph.ts';
import { importFolder } from '../../src/registry/import-version.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import { writeDecoder } from '../support/tiny-decoder.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

/* The instruction of `winnow score` and `winnow eval`: a decoder reads it, a model of pairs does not. */

const root = mkdtempSync(join(tmpdir(), 'winnow-instruction-'));
const models = join(root, 'models');

beforeAll(async () => {
  const pool = await createLocalPool({ threads: 1 });
  const deps = { pool, tokenizers: { for: (folder: string) => createLocalTokenizer(folder) }, writeGraph };
  await importFolder(await writeDecoder(join(root, 'judge')), models, 'judge', deps);
  await writeTinyModel(join(root, 'pairs'));
  await importFolder(join(root, 'pairs'), models, 'pairs', deps);
  await pool.close();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const config = () =>
  loadConfig(
    ['--models', models, '--inference-hosts', '1', '--inference-threads', '1', '--telemetry-log-level', 'warn'],
    {},
  );
const LIST = { qid: 'q', query: 'ab w?', docids: ['d'], passages: ['a flea?'], relevance: [0] };

async function* one<T>(value: T): AsyncGenerator<T> {
  yield value;
}

describe('an instruction', () => {
  it('changes what a decoder that teaches scores and how its job is called; other teachers are named', async () => {
    const found = async (instruction?: string) => {
      const ignored: string[] = [];
      const scored: { name: string; pairs?: object; score: number }[] = [];
      const use = { models: ['judge', 'pairs'], biEncoders: [], sides: { maxLength: 64 }, instruction };
      for await (const { name, pairs, score } of openTeachers(config, { ...use, onIgnored: (n) => ignored.push(n) }))
        for await (const { scores } of score(one(LIST)))
          scored.push({ name, ...(pairs && { pairs }), score: scores[0]! });
      return { ignored, scored };
    };
    const [own, asked] = [await found(), await found('w w cd')];
    expect([own.ignored, asked.ignored]).toEqual([[], ['pairs@1']]);
    expect(asked.scored[0]!.score).not.toBe(own.scored[0]!.score);
    expect(asked.scored[0]!.pairs).toEqual({ ...own.scored[0]!.pairs, instruction: 'w w cd' });
    expect(asked.scored[1]).toEqual(own.scored[1]);
  });

  it('changes what a decoder of a suite scores, and what its cells are known by', async () => {
    const found = async (instruction?: string) => {
      const ignored: string[] = [];
      const suite = openSuiteModels(config, { instruction, onIgnored: (key) => ignored.push(key) });
      try {
        const facts = [await suite.open('judge', 'auto'), await suite.open('pairs', 'auto')];
        const scores: number[] = [];
        for (const model of ['judge', 'pairs'])
          for await (const { scores: values } of suite.score(model, 'auto', one(LIST))) scores.push(values[0]!);
        return { ignored, pairs: facts.map(({ pairs }) => pairs), scores };
      } finally {
        await suite.close();
      }
    };
    const [own, asked] = [await found(), await found('w w cd')];
    expect([own.ignored, asked.ignored]).toEqual([[], ['pairs@1']]);
    expect(asked.scores[0]).not.toBe(own.scores[0]);
    expect(asked.scores[1]).toBe(own.scores[1]);
    expect(asked.pairs).toEqual([{ ...own.pairs[0], instruction: 'w w cd' }, own.pairs[1]]);
  });
});
