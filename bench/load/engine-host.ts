import { once } from 'node:events';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { BareJob } from './engine.ts';

/*
 * A process that holds one session and nothing else. Tensors are made before the clock starts, so only the engine is timed.
 */

type Feed = Record<string, Tensor>;

function feedOf(rows: BareJob['batches'][number], names: readonly string[]): Feed {
  const length = Math.max(...rows.map(({ ids }) => ids.length));
  const value: Readonly<Record<string, (row: (typeof rows)[number], at: number) => number>> = {
    input_ids: ({ ids }, at) => ids[at] ?? 0,
    attention_mask: ({ ids }, at) => (at < ids.length ? 1 : 0),
    token_type_ids: ({ ids, secondSegment }, at) => (at >= secondSegment && at < ids.length ? 1 : 0),
  };
  const tensor = (name: string) => {
    const data = new BigInt64Array(rows.length * length);
    rows.forEach((row, r) => {
      for (let at = 0; at < length; at++) data[r * length + at] = BigInt(value[name]!(row, at));
    });
    return new Tensor('int64', data, [rows.length, length]);
  };
  return Object.fromEntries(names.filter((name) => name in value).map((name) => [name, tensor(name)]));
}

const [job] = (await once(process, 'message')) as [BareJob];
const session = await InferenceSession.create(job.file, job.session);
const feeds = job.batches.map((rows) => feedOf(rows, session.inputNames));
for (const feed of feeds.slice(0, 3)) await session.run(feed);
process.send!('ready');
process.on('message', async () => {
  for (const feed of feeds) await session.run(feed);
  process.send!('done');
});
