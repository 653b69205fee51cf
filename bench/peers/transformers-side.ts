import { openTransformers } from '../load/transformers-model.ts';
import { readJob, serveRuns } from './protocol.ts';

/*
 * @huggingface/transformers on texts, in batches of pairs of like length, so that little padding is computed.
 */

const job = readJob();
const dtype = job.precision === 'q8' ? 'q8' : 'fp32';
const { file: folder, maxLength, threads } = job;
const { version, score } = await openTransformers({ folder, dtype, maxLength, threads });

await serveRuns(`@huggingface/transformers ${version}`, job, async (batch) => {
  const length = (place: number) => job.pairs[place]!.join().length;
  const order = [...batch.keys()].toSorted((a, b) => length(batch[b]!) - length(batch[a]!));
  const sorted = await score(order.map((at) => job.pairs[batch[at]!]!));
  const scores = new Float64Array(batch.length);
  order.forEach((at, i) => {
    scores[at] = sorted[i]!;
  });
  return scores;
});
