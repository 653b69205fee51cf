import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerProcess } from '../../../bench/load/server.ts';
import { MODELS, SHIPPED_NAME } from '../../../bench/load/shipped.ts';
import type { Drill } from '../harness/drill.ts';
import { watch } from '../harness/witness.ts';

const byPattern = (Regex: string) => ({
  normalizer: null,
  pre_tokenizer: { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
});
const replacing = (count: number, content: string) => ({
  normalizer: {
    type: 'Sequence',
    normalizers: Array.from({ length: count }, () => ({ type: 'Replace', pattern: { String: 'a' }, content })),
  },
});

interface Hostile {
  readonly parts: object;
  /** What its requests ask about; they take long where it is admitted. */
  readonly text: string;
}

/** Models whose tokenizer.json is a trap. */
const HOSTILE: Readonly<Record<string, Hostile>> = {
  backtracking: { parts: byPattern('(a+)+$'), text: `${'a'.repeat(40)}!` },
  choices: { parts: byPattern('(?:a|a)*b'), text: 'a'.repeat(60) },
  squared: { parts: byPattern('a+b'), text: 'a'.repeat(200_000) },
  doubling: { parts: replacing(30, 'aa'), text: 'a' },
  before: { parts: replacing(2, '$`'), text: 'ab'.repeat(50_000) },
  stuck: { parts: { pre_tokenizer: { type: 'FixedLength', length: 0 } }, text: 'a' },
  'long-words': { parts: { normalizer: null }, text: `${'a'.repeat(1000)} `.repeat(400) },
};

/** Adds a model that has the default model's graph and a tokenizer of its own. */
function add(registry: string, name: string, { parts }: Hostile): void {
  const making = join(registry, `.${name}`);
  cpSync(join(registry, SHIPPED_NAME), making, { recursive: true });
  const version = join(making, '1');
  const path = join(version, 'tokenizer.json');
  const { model, ...rest } = JSON.parse(readFileSync(path, 'utf8')) as { model: object };
  const spoilt = { ...rest, model: { ...model, max_input_chars_per_word: 1000 }, ...parts };
  writeFileSync(path, JSON.stringify(spoilt));
  // Its hashes and self-test are those of the default model.
  rmSync(join(version, 'model.json'));
  renameSync(making, join(registry, name));
}

async function ask({ url }: ServerProcess, model: string, text: string): Promise<string> {
  const answer = await fetch(`${url}/v2/rerank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, query: 'q', documents: [text] }),
    signal: AbortSignal.timeout(30_000),
  }).catch((error: Error) => error);
  if (answer instanceof Error) return answer.name;
  return `${answer.status} ${await answer.text()}`;
}

export const tokenizers: Drill = {
  name: 'tokenizer',
  attack: 'models whose tokenizer.json hangs or grows, beside the default one',
  async run({ folder, start }, scale) {
    const registry = join(folder, 'models');
    mkdirSync(registry);
    cpSync(join(MODELS, SHIPPED_NAME), join(registry, SHIPPED_NAME), { recursive: true });
    const server = await start({ flags: ['--registry-folder', registry, '--registry-default-model', SHIPPED_NAME] });
    const witness = watch(server.url, { everyMs: 100, patienceMs: 5000 });
    const statuses: string[] = [];
    for (const [name, hostile] of Object.entries(HOSTILE)) {
      add(registry, name, hostile);
      let tries = 4 * scale;
      for (let looks = 0; tries > 0 && looks < 50; looks++) {
        const status = (await ask(server, name, hostile.text)).slice(0, 3);
        // Not found until the registry has seen it.
        if (status !== '404') statuses.push(`${name} ${status}`);
        if (status !== '404') tries--;
        await delay(100);
      }
    }
    const { requests, failures, slowestMs } = await witness.stop();
    return {
      tries: statuses.length,
      failures: failures.map((failure) => `ordinary request: ${failure}`),
      seen: `${[...new Set(statuses)].join(', ')}; ${requests} requests of the default model, slowest ${slowestMs.toFixed(0)} ms`,
    };
  },
};
