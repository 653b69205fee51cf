/*
 * Gradients of any encoder's ONNX graph, step by step:
 *
 *   const { model, weights } = await prepare(await readModel(file), { output: 'logits' });
 *   const dropped = await insertDropout(model, weights, ratesOf(config));     // training graph only
 *   const g = GraphBuilder.from(dropped.model.graph, { outputs: false });
 *   const loss = …                                                            // a scalar on top of 'logits'
 *   g.output(loss, 'float32', []);
 *   const shapes = await probeShapes({ ...model, graph: g.build() }, feeds);  // feeds of distinct sizes
 *   const trained = unfrozen(weights, freeze).map((w) => w.tensor);
 *   const { graph, gradients } = differentiate(g.build(), { of: loss, wrt: trained, shapes });
 *   const step = GraphBuilder.from(weightsToInputs(graph, trained));          // goes on with the optimizer
 *
 * `gradients.get(tensor)` names the value that holds a weight's gradient. `fillDropoutMask(parts, rows, length, seed, step)` are the feeds
 * of the masks.
 */
export { type Differentiated, type DifferentiateOptions, differentiate } from './differentiate.ts';
export { insertDropout, type MaskForm, type MaskPart, type WithDropout } from './dropout/insert.ts';
export { createDropoutMasks, type DropoutMasks, fillDropoutMask, widenDropoutMask } from './dropout/mask.ts';
export { type DropoutRates, NO_DROPOUT, overrideRates, ratesOf } from './dropout/rates.ts';
export { type DropoutSite, findDropoutSites } from './dropout/sites.ts';
export { type Prepared, type PrepareOptions, prepare } from './prepare.ts';
export { RULES } from './rules/index.ts';
export { type FindOptions, findWeights, matches, unfrozen, type Weight, weightsToInputs } from './weights.ts';
