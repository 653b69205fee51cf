import type { Tensor } from 'onnxruntime-node';
import { createSession } from '../../inference/providers.ts';
import type { Model } from '../../onnx/graph.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { rowFeeds } from '../step/feeds.ts';

/** Computes the features of the early score. */
export interface RowFeatures {
  /** Returns the features of each row of a batch. */
  of(batch: readonly EncodedRow[]): Promise<Float32Array[]>;
  close(): Promise<void>;
}

/** Opens a graph made by `earlyFeatures`. @throws WinnowError as `createSession`. */
export async function openFeatures(graph: Model, padId: number): Promise<RowFeatures> {
  const session = await createSession(graph);
  const [output] = session.outputNames;
  return {
    async of(batch) {
      const found = (await session.run(rowFeeds(batch, session.inputNames, padId)))[output!] as Tensor;
      const data = found.data as Float32Array;
      const width = data.length / batch.length;
      return batch.map((_, i) => data.slice(i * width, (i + 1) * width));
    },
    close: () => session.release(),
  };
}
