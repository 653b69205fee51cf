import { basename, dirname } from 'node:path';
import {
  AutoModelForSequenceClassification,
  AutoTokenizer,
  env,
  type PreTrainedTokenizer,
} from '@huggingface/transformers';

/** Pairs of a batch. */
const BATCH = 32;

export interface TransformersSettings {
  /** Model folder in Hugging Face layout. */
  readonly folder: string;
  /** ONNX file: `fp32` is model.onnx, `q8` model_quantized.onnx, others their own ending. */
  readonly dtype: 'int8' | 'fp32' | 'fp16' | 'q8';
  readonly maxLength: number;
  /** Threads of the engine; its own choice by default. */
  readonly threads?: number;
}

/**
 * Opens a model with @huggingface/transformers, used as in its documentation: tokenize a padded batch of pairs, run, read the logits.
 * @returns its version, and a function that scores pairs in their order.
 */
export async function openTransformers({ folder, dtype, maxLength, threads }: TransformersSettings) {
  Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: dirname(folder) });
  const name = basename(folder);
  const tokenizer: PreTrainedTokenizer = await AutoTokenizer.from_pretrained(name);
  const model = await AutoModelForSequenceClassification.from_pretrained(name, {
    dtype,
    device: 'cpu',
    session_options: { logSeverityLevel: 3, ...(threads === undefined ? {} : { intraOpNumThreads: threads }) },
  });
  const score = async (pairs: readonly (readonly [query: string, passage: string])[]): Promise<number[]> => {
    const scores: number[] = [];
    for (let from = 0; from < pairs.length; from += BATCH) {
      const part = pairs.slice(from, from + BATCH);
      const passages = part.map(([, passage]) => passage);
      const options = { text_pair: passages, padding: true, truncation: true, max_length: maxLength };
      const { logits } = await model(
        tokenizer(
          part.map(([query]) => query),
          options,
        ),
      );
      scores.push(...(logits.data as Float32Array));
    }
    return scores;
  };
  return { version: env.version, score };
}
