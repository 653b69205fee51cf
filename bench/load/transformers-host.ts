import { once } from 'node:events';
import { basename, dirname } from 'node:path';
import {
  AutoModelForSequenceClassification,
  AutoTokenizer,
  env,
  type PreTrainedTokenizer,
} from '@huggingface/transformers';
import type { LoadRequest } from './requests.ts';

/*
 * @huggingface/transformers in a process of its own, used as in its documentation: tokenize a padded batch of pairs, run, read the logits.
 * Same file, same maximum length, same requests.
 */

export interface TransformersJob {
  /** Folder of a model's version. */
  readonly folder: string;
  /** Ending of the ONNX file: `int8`, `fp32`. */
  readonly dtype: 'int8' | 'fp32' | 'fp16';
  readonly maxLength: number;
  readonly requests: readonly LoadRequest[];
}

const BATCH = 32;

const [job] = (await once(process, 'message')) as [TransformersJob];
Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: dirname(job.folder) });
const name = basename(job.folder);
const tokenizer: PreTrainedTokenizer = await AutoTokenizer.from_pretrained(name);
const model = await AutoModelForSequenceClassification.from_pretrained(name, {
  dtype: job.dtype,
  device: 'cpu',
  session_options: { logSeverityLevel: 3 },
});

async function score({ query, passages }: LoadRequest): Promise<number[]> {
  const scores: number[] = [];
  for (let from = 0; from < passages.length; from += BATCH) {
    const part = passages.slice(from, from + BATCH);
    const options = { text_pair: [...part], padding: true, truncation: true, max_length: job.maxLength };
    const { logits } = await model(
      tokenizer(
        part.map(() => query),
        options,
      ),
    );
    scores.push(...(logits.data as Float32Array));
  }
  return scores;
}

await score(job.requests[0]!);
process.send!('ready');
process.on('message', async () => {
  const begin = performance.now();
  for (const request of job.requests) await score(request);
  const seconds = (performance.now() - begin) / 1000;
  process.send!({ seconds, rss: process.memoryUsage().rss });
});
