import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { publishTiny, TORCH_CASES } from '../../support/torch-cases.ts';

const HELP = `Opens what \`publish.formats: [onnx, safetensors]\` writes with transformers and sentence-transformers, and compares scores.

  WINNOW_PYTHON=/path/to/venv/bin/python npm run test:torch      small models of each family and head
  WINNOW_PYTHON=… npm run test:torch -- FOLDER…                  published versions, by the pairs of their self-test

The Python needs torch, transformers and sentence-transformers. Exit code 1 if a score differs by more than 1e-5 of the largest.
`;

const { values, positionals } = parseArgs({
  options: { help: { type: 'boolean', short: 'h', default: false } },
  allowPositionals: true,
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

interface SelfTestPair {
  readonly query: string;
  readonly passage: string;
  readonly scores: { readonly fp32: number };
}

/** Returns the pairs and scores of a version's self-test, as a line for the Python side. */
function caseOf(folder: string): string {
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
  const pairs: readonly SelfTestPair[] = read('model.json').selfTest.pairs;
  return JSON.stringify({
    folder,
    pairs: pairs.map(({ query, passage }) => [query, passage]),
    scores: pairs.map(({ scores }) => scores.fp32),
    isClassifier: `${read('config.json').architectures}`.endsWith('ForSequenceClassification'),
  });
}

const root = mkdtempSync(join(tmpdir(), 'winnow-torch-'));
try {
  const folders = [...positionals];
  if (folders.length === 0)
    for (const { name, config, tensors, head } of TORCH_CASES) {
      const { folder } = await publishTiny(root, { name, config, tensors, head });
      folders.push(folder);
    }
  const python = process.env.WINNOW_PYTHON ?? 'python3';
  const { status, error } = spawnSync(python, [join(import.meta.dirname, 'compare.py')], {
    input: folders.map(caseOf).join('\n'),
    stdio: ['pipe', 'inherit', 'inherit'],
    env: { ...process.env, HF_HUB_OFFLINE: '1', TRANSFORMERS_VERBOSITY: 'error', HF_HUB_DISABLE_PROGRESS_BARS: '1' },
  });
  if (error) throw error;
  process.exitCode = status ?? 1;
} finally {
  rmSync(root, { recursive: true, force: true });
}
