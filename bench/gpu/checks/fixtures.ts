import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InferenceRow } from '../../../src/inference/inference-types.ts';
import { createLocalPool } from '../../../src/inference/local-pool.ts';
import { largestDifference } from '../batches.ts';
import { attempt, report } from '../findings.ts';
import type { Check } from './check.ts';

interface Golden {
  readonly special_ids: { readonly pad: number };
  readonly inputs: {
    readonly input_ids: readonly number[][];
    readonly attention_mask: readonly number[][];
    readonly token_type_ids?: readonly number[][];
  };
  readonly logits: readonly number[];
}

interface Export {
  readonly family: string;
  readonly file: string;
  readonly golden: Golden;
}

/** Largest difference from PyTorch's float64 logits. TF32 is measured apart; sines of Vulkan's drivers may be off by 2⁻¹¹. */
const TOLERANCES = { cpu: 1e-4, cuda: 1e-4, webgpu: 1e-3 } as const;

const rowsOf = ({ inputs }: Golden): InferenceRow[] =>
  inputs.input_ids.map((ids, r) => {
    const length = inputs.attention_mask[r]!.reduce((sum, bit) => sum + bit, 0);
    const second = inputs.token_type_ids?.[r]?.indexOf(1) ?? -1;
    return { ids: Int32Array.from(ids.slice(0, length)), secondSegment: second < 0 ? length : second };
  });

/** Returns the exports with a head, the newest of every family first, then the others. */
function exportsIn(folder: string): readonly Export[] {
  const families = readdirSync(folder)
    .filter((family) => existsSync(join(folder, family, 'golden.json')))
    .map((family) => {
      const golden = JSON.parse(readFileSync(join(folder, family, 'golden.json'), 'utf8')) as Golden;
      const files = readdirSync(join(folder, family)).filter((f) => f.endsWith('.onnx') && !f.startsWith('features-'));
      const newest = files.toSorted((a, b) => Number(b.includes('dynamo-op20')) - Number(a.includes('dynamo-op20')));
      return newest.map((file) => ({ family, file, golden }));
    });
  const longest = Math.max(0, ...families.map((all) => all.length));
  return Array.from({ length: longest }, (_, i) => families.flatMap((all) => all[i] ?? [])).flat();
}

/** Time after which no export is begun. */
const ENOUGH_MS = 80_000;

/** Compares the logits of every fixture with PyTorch's. */
export const fixtures: Check = {
  name: 'fixtures',
  question: "Are the logits of every export PyTorch's, float32 without TF32?",
  seconds: 100,
  env: { NVIDIA_TF32_OVERRIDE: '0' },
  async run({ provider, fixtures: folder, small }) {
    const until = performance.now() + ENOUGH_MS;
    if (folder === '') {
      report({ what: 'exports', status: 'left out', detail: 'no folder of fixtures (--fixtures)' });
      return;
    }
    const pool = await createLocalPool({ provider });
    const all = exportsIn(folder);
    // A software Vulkan driver takes seconds for an export.
    const chosen = small && provider === 'webgpu' ? all.slice(0, new Set(all.map(({ family }) => family)).size) : all;
    let left = all.length - chosen.length;
    for (const { family, file, golden } of chosen) {
      if (performance.now() > until) {
        left++;
        continue;
      }
      await attempt(`${family}/${file}`, async () => {
        const key = `${family}/${file}`;
        await pool.load({
          key,
          file: join(folder, family, file),
          padId: golden.special_ids.pad,
          maxLength: golden.inputs.input_ids[0]!.length,
          reduction: { kind: 'single' },
        });
        const { scores } = await pool.run(key, rowsOf(golden));
        const value = largestDifference(golden.logits, scores);
        report({
          what: key,
          status: value <= TOLERANCES[provider] ? 'right' : 'wrong',
          value,
          unit: 'largest difference',
        });
        await pool.unload(key);
      });
    }
    if (left > 0) report({ what: `${left} more exports`, status: 'left out', detail: 'for their time' });
    await pool.close();
  },
};
