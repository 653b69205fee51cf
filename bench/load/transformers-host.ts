import { once } from 'node:events';
import type { LoadRequest } from './requests.ts';
import { openTransformers } from './transformers-model.ts';

/*
 * @huggingface/transformers in a process of its own. Same file, same maximum length, same requests.
 */

export interface TransformersJob {
  /** Folder of a model's version. */
  readonly folder: string;
  /** Ending of the ONNX file: `int8`, `fp32`. */
  readonly dtype: 'int8' | 'fp32' | 'fp16';
  readonly maxLength: number;
  readonly requests: readonly LoadRequest[];
}

const [job] = (await once(process, 'message')) as [TransformersJob];
const { score } = await openTransformers(job);
const scoreRequest = ({ query, passages }: LoadRequest) => score(passages.map((passage) => [query, passage]));

await scoreRequest(job.requests[0]!);
process.send!('ready');
process.on('message', async () => {
  const begin = performance.now();
  for (const request of job.requests) await scoreRequest(request);
  const seconds = (performance.now() - begin) / 1000;
  process.send!({ seconds, rss: process.memoryUsage().rss });
});
