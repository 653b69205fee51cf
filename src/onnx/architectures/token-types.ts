import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonFile } from '../../util/json-files.ts';
import { GraphBuilder } from '../builder.ts';
import type { Model } from '../graph.ts';
import { int64s } from '../tensor.ts';
import { TYPES_INPUT } from './pooling.ts';
import { Settings } from './settings.ts';

const FILE = 'tokenizer_config.json';
/** What sentence-transformers writes, with several modules or one. */
const MODULES_FILE = 'modules.json';

/** The class of a tokenizer that belongs to no family; it gives no token types unless `model_input_names` lists them. */
const GENERIC = 'TokenizersBackend';

/**
 * Whether the tokenizer of a folder gives no `token_type_ids`, so that the model has only ever seen type 0. That is so where
 * `model_input_names` says it. Sentence-transformers calls the tokenizer as it is, so that in its folders the class counts too.
 * Source: `model_input_names` of the tokenizers of transformers 5.
 */
export async function lacksTokenTypes(folder: string): Promise<boolean> {
  const file = join(folder, FILE);
  if (!existsSync(file)) return false;
  const settings = new Settings(file, await readJsonFile(file));
  const names = settings.list('model_input_names');
  const isCalledAsIs = existsSync(join(folder, MODULES_FILE));
  return names === undefined
    ? isCalledAsIs && settings.get('tokenizer_class') === GENERIC
    : !names.includes(TYPES_INPUT);
}

/** Returns a model whose tokens all have type 0, without the input for types. */
export function withoutTokenTypes(model: Model): Model {
  const { graph } = model;
  if (!graph.inputs.some(({ name }) => name === TYPES_INPUT)) return model;
  const inputs = graph.inputs.filter(({ name }) => name !== TYPES_INPUT);
  const g = GraphBuilder.from({ ...graph, inputs, nodes: [] });
  const shape = g.op('Shape', ['input_ids']);
  const zeros = { kind: 'tensor', value: int64s([0]) } as const;
  g.append({
    op: 'ConstantOfShape',
    domain: '',
    name: TYPES_INPUT,
    inputs: [shape],
    outputs: [TYPES_INPUT],
    attrs: { value: zeros },
  });
  for (const node of graph.nodes) g.append(node);
  return Object.freeze({ ...model, graph: g.build() });
}
