import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WORDS, writeTinyModel } from '../support/tiny-model.ts';
import { ask, isReady, type Question } from './ask.ts';
import type { Built } from './build.ts';
import { startContainer } from './container.ts';
import type { Result } from './result.ts';
import { run } from './tools.ts';

/** Largest difference of a float32 logit between architectures. */
const FLOAT_ERROR = 1e-4;
const INT8 = ['minilm-l6-bce', 'minilm-l6-marginmse'];
const START_MS = 600_000;
const ATTEMPTS = 8;

const QUESTION = {
  query: 'how long does a flea live',
  texts: [
    'The committee will meet on Thursday to discuss the new tariff on copper imports.',
    'A flea can live up to a year, but its general lifespan depends on its living conditions.',
    'Bridges are inspected every five years.',
    'Fleas: 12 weeks.',
  ],
};

type Logits = Readonly<Record<string, readonly number[]>>;

/** A registry with shipped int8 models and a small float32 one. */
async function registry(root: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-scores-'));
  for (const name of INT8) cpSync(join(root, 'models', name), join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'default.json'), JSON.stringify({ model: INT8[0] }));
  const version = await writeTinyModel(join(folder, 'float32', '1'));
  writeFileSync(join(version, 'model.json'), JSON.stringify({ format: 1, maxLength: 64, activation: 'sigmoid' }));
  run('chmod', ['-R', 'a+rX', folder]);
  return folder;
}

/**
 * Asks until a model is admitted: an emulated processor may take longer than a trial of a graph may last (10 s), and loading it again is another
 * trial.
 */
async function patiently(url: string, question: Question & { model: string }): Promise<readonly number[]> {
  for (let attempt = 1; ; attempt++) {
    const { status, logits, text } = await ask(url, question);
    if (status === 200) return logits;
    if (attempt === ATTEMPTS) throw new Error(`${question.model}: expected 200, got ${status} ${text}`);
    const load = await fetch(`${url}/v2/repository/models/${question.model}/load`, { method: 'POST' });
    await load.body?.cancel();
  }
}

async function logitsOf({ image }: Built, models: string): Promise<Logits> {
  const container = await startContainer({
    image,
    user: '1000:0',
    args: ['serve', '--port', '0'],
    // An emulated processor is slower than the deadlines of a server allow for.
    env: { WINNOW_SERVER_REQUEST_TIMEOUT_MS: '120000', WINNOW_SCHEDULING_MAX_WAIT_MS: '100000' },
    mounts: [{ source: models, target: '/app/models', isWritable: false }],
    startMs: START_MS,
  });
  try {
    if (!(await isReady(container.url, START_MS))) throw new Error(`not ready\n${container.log.slice(-5).join('\n')}`);
    const questions = [
      ...INT8.map((model) => ({ model, ...QUESTION })),
      { model: 'float32', query: WORDS[3]!, texts: [WORDS[23]!, `${WORDS[24]} ${WORDS[1]}`, WORDS[30]!, WORDS[7]!] },
    ];
    const found: Record<string, readonly number[]> = {};
    for (const question of questions) {
      const logits = await patiently(container.url, question);
      found[question.model] = logits;
    }
    return found;
  } finally {
    await container.stop();
    container.remove();
  }
}

/** Compares the scores of an image with those of the image of this machine's architecture. */
export async function sameScores(built: Built, own: Built, root: string): Promise<Result[]> {
  const models = await registry(root);
  try {
    const [theirs, ours] = [await logitsOf(built, models), await logitsOf(own, models)];
    return Object.entries(theirs).map(([model, logits]) => {
      const expected = ours[model] ?? [];
      const difference = Math.max(...logits.map((logit, at) => Math.abs(logit - (expected[at] ?? Number.NaN))));
      return {
        claim: `${model}: logits as on ${own.architecture}, to ${FLOAT_ERROR}`,
        seen: `largest difference ${difference.toExponential(1)} of ${logits.length} logits`,
        passed: difference <= FLOAT_ERROR,
      };
    });
  } finally {
    rmSync(models, { recursive: true, force: true });
  }
}
