import { env, InferenceSession } from 'onnxruntime-node';
import { feedOf } from '../load/feed.ts';
import { readJob, serveRuns } from './protocol.ts';

/*
 * onnxruntime-node alone on token ids. Tensors are made before the clock starts.
 */

const job = readJob();
const session = await InferenceSession.create(job.file, {
  intraOpNumThreads: job.threads,
  interOpNumThreads: 1,
  logSeverityLevel: 3,
});
const feeds = new Map(
  [...job.speed, ...job.all, ...job.alone, ...job.mixed, ...job.warm].map((batch) => {
    const rows = batch.map((place) => job.rows[place]!).map(([ids, secondSegment]) => ({ ids, secondSegment }));
    return [batch, feedOf(rows, session.inputNames)];
  }),
);
const [output] = session.outputNames;
await serveRuns(`onnxruntime-node ${env.versions.node}`, job, async (batch) => {
  const { data } = (await session.run(feeds.get(batch)!))[output!]!;
  return data as Float32Array;
});
