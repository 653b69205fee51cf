import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readSuite } from '../../../src/evaluation/suites/suite-schema.ts';
import { winnow } from '../../support/command.ts';
import { writeTinyModel } from '../../support/tiny-model.ts';

const SUITE = join(import.meta.dirname, '..', '..', '..', 'bench', 'suites', 'nanobeir.yaml');
const PARQUET = join(import.meta.dirname, '..', '..', 'fixtures', 'parquet', 'nano');
const root = mkdtempSync(join(tmpdir(), 'winnow-nanobeir-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const lines = (...rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

it('bench/suites/nanobeir.yaml measures a folder of the hub’s data sets as one group, Parquet and JSON lines', async () => {
  const sets = join(root, 'data', 'NanoBEIR');
  cpSync(PARQUET, join(sets, 'NanoSciFact'), { recursive: true });
  const put = (name: string, text: string) => {
    const folder = join(sets, 'NanoNQ', name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'train-00000-of-00001.jsonl'), text);
  };
  const passages = ['a red apple', 'a green pear and an apple', 'blue sky'];
  put('corpus', lines(...passages.map((text, i) => ({ _id: `d${i}`, text }))));
  put('queries', lines({ _id: 'q1', text: 'red apple' }, { _id: 'q2', text: 'pear' }));
  put('qrels', lines({ 'query-id': 'q1', 'corpus-id': 'd1' }, { 'query-id': 'q2', 'corpus-id': 'd1' }));
  expect(readSuite(SUITE).suite).toMatchObject({ depth: 100, sets: [{ name: 'NanoBEIR' }] });
  const suite = join(root, 'suite.yaml');
  writeFileSync(suite, readFileSync(SUITE, 'utf8').replace(/models:[\s\S]*$/, 'models: [tiny]\n'));
  await writeTinyModel(join(root, 'models', 'tiny', '1'));
  const out = join(root, 'out');
  const { code, error } = await winnow(
    'eval',
    suite,
    '--out',
    out,
    '--models',
    join(root, 'models'),
    '--format',
    'json',
  );
  expect(code, error).toBe(0);
  const report = readFileSync(join(out, 'report.md'), 'utf8');
  expect(report).toContain('NanoBEIR-NanoNQ');
  expect(report).toContain('NanoBEIR-NanoSciFact');
  // q1 finds its passage second, q2 first: (1/log2(3) + 1) / 2.
  expect(report).toContain('.815');
});
