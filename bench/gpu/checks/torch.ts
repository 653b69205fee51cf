import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type ModelName, randomFolder } from '../bench-models.ts';
import { type Context, PAIR_TOKENS } from '../context.ts';
import { attempt, report } from '../findings.ts';
import type { Check } from './check.ts';

const run = promisify(execFile);

/**
 * Scores pairs of 128 tokens by `CrossEncoder.predict` in bfloat16. Arguments: folder, device, seconds, pairs, batch sizes. Prints a line of JSON per
 * batch size.
 */
const PREDICT = `
import json, random, sys, time
import torch
from sentence_transformers import CrossEncoder
folder, device, seconds, count, sizes = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5].split(",")
model = CrossEncoder(folder, device=device, max_length=${PAIR_TOKENS}, model_kwargs={"dtype": torch.bfloat16})
words = "river copper harvest tariff glacier printer orchard senate winter little noise first time flood third north long day".split()
text = lambda n: " ".join(random.choice(words) for _ in range(n))
pairs = [(text(8), text(${PAIR_TOKENS} - 11)) for _ in range(count)]
for size in sizes:
    try:
        predict = lambda: model.predict(pairs, batch_size=int(size), show_progress_bar=False)
        predict()
        begin, rounds = time.perf_counter(), 0
        while rounds == 0 or time.perf_counter() - begin < seconds:
            predict()
            rounds += 1
        print(json.dumps({"size": size, "rate": count * rounds / (time.perf_counter() - begin)}), flush=True)
    except Exception as error:
        print(json.dumps({"size": size, "error": str(error)[:300]}), flush=True)
`;

interface Line {
  readonly size: string;
  readonly rate?: number;
  readonly error?: string;
}

async function predict(name: ModelName, context: Context): Promise<void> {
  const { python, small, provider, seconds } = context;
  const folder = await randomFolder(name, context);
  const args = [
    folder,
    provider === 'cuda' ? 'cuda' : 'cpu',
    String(seconds),
    small ? '16' : '8192',
    small ? '8' : '256,1024,32',
  ];
  const { stdout } = await run(python, ['-c', PREDICT, ...args], {
    maxBuffer: 1 << 24,
    env: { ...process.env, TQDM_DISABLE: '1' },
  });
  for (const line of stdout.split('\n').filter((text) => text.startsWith('{'))) {
    const { size, rate, error } = JSON.parse(line) as Line;
    const what = `sentence-transformers, ${name} bf16, batch_size ${size}`;
    if (rate === undefined) report({ what, status: 'fault', detail: error ?? '' });
    else report({ what, status: 'measured', value: rate, unit: 'pairs/s' });
  }
}

/** The same models in PyTorch, where a Python has it. */
export const torch: Check = {
  name: 'torch',
  question: 'How many pairs of 128 tokens a second does sentence-transformers score in bfloat16?',
  seconds: 100,
  async run(context) {
    if (context.python === '') {
      report({ what: 'sentence-transformers', status: 'left out', detail: 'no Python with it (--python)' });
      return;
    }
    for (const name of ['minilm-l6', 'bert-base', 'modernbert-base', 'minilm-l12'] satisfies ModelName[])
      await attempt(`sentence-transformers, ${name}`, () => predict(name, context));
  },
};
