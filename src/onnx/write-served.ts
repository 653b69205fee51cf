import { withTemporary } from '../util/files.ts';
import type { Model } from './graph.ts';
import { initializerBytes, writeData, writeGraph } from './model-file.ts';
import { describe, probeFeeds, type Shapes, withEveryOutput } from './probe.ts';
import type { Placement } from './protobuf-write.ts';
import { narrow, narrowModel } from './rewrites/narrow.ts';
import { runOnce } from './runner.ts';

/**
 * Bytes of weights from which they get a file of their own, which the engine maps: a model file is read into memory twice, and tables of words
 * stay there whole.
 */
const MAPPED = 32 * 2 ** 20;

/**
 * Writes a model built from weights as it is served: its weights in a file that the engine maps, and without positions that its scores do not
 * depend on (see `narrow`). Weights are read, converted and written one by one.
 * @throws WinnowError `invalid_graph` if the engine cannot run the model on a tiny batch.
 */
export async function writeServed(path: string, model: Model, mapped = MAPPED): Promise<void> {
  if (initializerBytes(model) < mapped) return writeGraph(path, await narrowModel(model), () => undefined);
  const { place } = await writeData(path, model, { insideLimit: 0 });
  const graph = narrow(model.graph, await shapesFrom(path, model, place));
  await writeGraph(path, { ...model, graph }, place);
}

/** Probes the shapes of a model from files, so that its weights are mapped and not in memory. */
async function shapesFrom(path: string, model: Model, place: Placement): Promise<Shapes> {
  const feeds = probeFeeds(model.graph.inputs);
  return withTemporary(path, async (temporary) => {
    await writeGraph(temporary, withEveryOutput(model), place);
    return describe(model, feeds, await runOnce(temporary, feeds, { packs: false }));
  });
}
