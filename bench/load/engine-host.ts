import { once } from 'node:events';
import { InferenceSession } from 'onnxruntime-node';
import type { BareJob } from './engine.ts';
import { feedOf } from './feed.ts';

/*
 * A process that holds one session and nothing else. Tensors are made before the clock starts, so only the engine is timed.
 */

const [job] = (await once(process, 'message')) as [BareJob];
const session = await InferenceSession.create(job.file, job.session);
const feeds = job.batches.map((rows) => feedOf(rows, session.inputNames));
for (const feed of feeds.slice(0, 3)) await session.run(feed);
process.send!('ready');
process.on('message', async () => {
  for (const feed of feeds) await session.run(feed);
  process.send!('done');
});
