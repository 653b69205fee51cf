import { MICROSOFT } from './builder.ts';
import type { Model } from './graph.ts';
import { prepare } from './prepare.ts';
import { fuseScale } from './rewrites/fuse.ts';
import { narrowModel } from './rewrites/narrow.ts';

/**
 * Rewrites a cross-encoder for scoring on a CPU: constants folded, one node for a normalization or a GELU, positions left out that the scores
 * do not depend on, attention scores scaled inside their product. Inputs and the output keep their names; scores change by the order of
 * additions only.
 * @param output name of the scores; other outputs are dropped.
 * @throws WinnowError `invalid_graph` if the engine cannot run the model on a tiny batch; `unsupported_op`.
 */
export async function servingForm(model: Model, output: string): Promise<Model> {
  const narrowed = await narrowModel((await prepare(model, { output })).model);
  return Object.freeze({
    ...narrowed,
    opsets: { ...narrowed.opsets, [MICROSOFT]: narrowed.opsets[MICROSOFT] ?? 1 },
    producer: 'winnow',
    graph: fuseScale(narrowed.graph),
  });
}
