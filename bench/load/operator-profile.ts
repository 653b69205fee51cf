import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sessionOptions } from '../../src/inference/providers.ts';
import { readWholeModel } from '../../src/onnx/architectures/whole-model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import { rowFeeds } from '../../src/training/step/feeds.ts';
import { lengthBatches } from '../../src/training/step/row-scorer.ts';
import { encodeRows } from './engine.ts';
import type { Topic } from './requests.ts';

/** One event of the engine's profile; durations in microseconds. */
interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly dur: number;
  readonly args?: { readonly op_name?: string };
}

/** Share of the time from which an operator is listed. */
const LISTED = 0.01;
/** Tokens of a batch, as the server forms them on a CPU. */
const TOKENS = 512;

/** Adds up the time of each operator in a profile of the engine. @returns shares as text, the largest first. */
export function operatorShares(events: readonly ProfileEvent[]): string {
  const spent = new Map<string, number>();
  for (const { cat, name, dur, args } of events)
    if (cat === 'Node' && name.endsWith('_kernel_time') && args?.op_name !== undefined)
      spent.set(args.op_name, (spent.get(args.op_name) ?? 0) + dur);
  const all = [...spent.values()].reduce((a, b) => a + b, 0);
  return [...spent]
    .toSorted(([, a], [, b]) => b - a)
    .filter(([, time]) => time / all >= LISTED)
    .map(([op, time]) => `${op} ${((100 * time) / all).toFixed(0)} %`)
    .join(', ');
}

/** Scores pairs with a folder's float32 model in one thread and returns the time by operator. */
export async function profileOf(folder: string, work: readonly Topic[]): Promise<string> {
  const at = mkdtempSync(join(tmpdir(), 'winnow-profile-'));
  const tokenizer = await createLocalTokenizer(folder);
  try {
    const rows = await encodeRows(tokenizer, work, 512);
    const session = await openModel(await readWholeModel(folder), {
      ...sessionOptions({ threads: 1 }),
      enableProfiling: true,
      profileFilePrefix: join(at, 'profile'),
    });
    const lengths = rows.map(({ ids }) => ids.length);
    for (const places of lengthBatches(lengths, { tokens: TOKENS }))
      await session.run(
        rowFeeds(
          places.map((place) => rows[place]!),
          session.inputNames,
          tokenizer.padId,
        ),
      );
    session.endProfiling();
    await session.release();
    const [file] = readdirSync(at);
    return operatorShares(JSON.parse(readFileSync(join(at, file!), 'utf8')) as readonly ProfileEvent[]);
  } finally {
    await tokenizer.close();
    rmSync(at, { recursive: true, force: true });
  }
}
