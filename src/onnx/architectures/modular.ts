import { WinnowError } from '../../errors.ts';
import { GraphBuilder } from '../builder.ts';
import { freezeGraph, type Graph, type Model, type Node, renameReads } from '../graph.ts';
import { prune } from '../order.ts';
import { raiseOpset } from '../rewrites/opset.ts';
import { type Feature, SCORES, type Step, unit, VECTOR } from './module-kinds.ts';
import type { Modules } from './modules.ts';

/** Names of the output with the states of tokens, in the order of preference; those of transformers and of optimum. */
export const STATES = ['last_hidden_state', 'token_embeddings'];

/** Returns what the encoder gives. @throws WinnowError `invalid_input` for a graph without it. */
function encoderFeature({ graph }: Model, { folder, encoder }: Modules): Feature {
  const isTokens = encoder.output === 'last_hidden_state';
  const wanted = isTokens ? STATES : [encoder.output];
  const found = wanted.map((name) => graph.outputs.find((o) => o.name === name)).find((o) => o !== undefined);
  if (!found)
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: `an encoder with output ${wanted.join(' or ')}, which its modules read`,
      got: graph.outputs.map(({ name }) => name).join(', '),
    });
  const last = found.dims?.at(-1);
  return { value: found.name, width: typeof last === 'number' ? last : undefined, isTokens };
}

/** The name of an encoder's own vectors, inside the graph whose output has the usual name. */
const OWN_VECTOR = 'own_sentence_embedding';

/** Gives a value another name, so that the result can have its name. */
function withoutName(graph: Graph, name: string): Graph {
  const renamed = new Map([[name, OWN_VECTOR]]);
  const nameOf = (one: string) => renamed.get(one) ?? one;
  const node = (one: Node) =>
    renameReads({ ...one, name: nameOf(one.name), outputs: one.outputs.map(nameOf) }, renamed);
  const isMade = graph.nodes.some(({ outputs }) => outputs.includes(name));
  const outputs = graph.outputs.filter((output) => output.name !== name);
  return isMade ? freezeGraph({ ...graph, outputs, nodes: graph.nodes.map(node) }) : graph;
}

/**
 * Appends the modules of a cross-encoder to the model of its encoder. The only output is `logits` [batch, labels], before the activation
 * function of `config_sentence_transformers.json`; of a bi-encoder, `sentence_embedding` [batch, width], of length 1 where cosines are compared.
 * @throws WinnowError `invalid_input` with file and field for modules that do not fit each other or their weights.
 */
export async function appendModules(encoder: Model, modules: Modules): Promise<Model> {
  const model = raiseOpset(encoder);
  const found = encoderFeature(model, modules);
  const g = GraphBuilder.from(withoutName(model.graph, VECTOR), { outputs: false });
  const features = new Map([
    [modules.encoder.feature, found.value === VECTOR ? { ...found, value: OWN_VECTOR } : found],
  ]);
  const inputs = model.graph.inputs.map(({ name }) => name);
  for (const module of modules.list) {
    const step: Step = { module, g, inputs, features };
    await module.append(step);
  }
  const { similarity } = modules;
  const name = similarity ? VECTOR : SCORES;
  const result = features.get(name);
  if (!result || result.isTokens)
    throw new WinnowError('invalid_input', {
      where: modules.folder,
      expected: similarity
        ? `a module that writes ${VECTOR}, one row a text (a Pooling)`
        : `a module that writes ${SCORES}, one row a pair (a Dense with module_output_name ${SCORES})`,
      got: `modules that write ${[...features.keys()].join(', ')}`,
    });
  const value = similarity === 'cosine' ? unit(g, result.value) : result.value;
  g.output(value, 'float32', ['batch', result.width ?? null], similarity ? VECTOR : 'logits');
  return Object.freeze({ ...model, graph: prune(g.build()) });
}
