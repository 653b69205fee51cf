import { POOLING_MODES, type PoolingMode } from '../../util/pooling-modes.ts';
import type { GraphBuilder } from '../builder.ts';
import { type Answers, Checkpoint, readWeights } from './checkpoint.ts';
import { linear, norm, type Parts } from './parts.ts';
import { MASK_INPUT, POOLING_FLAGS, pool, poolingMode } from './pooling.ts';
import type { Settings } from './settings.ts';
import { TORCH_ACTIVATION_NAMES, type TorchActivation, torchActivation } from './torch-activations.ts';

/* What each module of sentence-transformers appends to a graph. Fields and their default values are those of its `config.json`. */

/** A value that modules read and write: [batch, width], or [batch, sequence, width] for states of tokens. */
export interface Feature {
  readonly value: string;
  /** Undefined where the graph does not fix it. */
  readonly width: number | undefined;
  readonly isTokens: boolean;
}

/** A module after the encoder. */
export interface Module {
  readonly folder: string;
  /** Begins the names of its weights. */
  readonly name: string;
  readonly settings: Settings;
  /** Appends the module: writes features. */
  readonly append: (step: Step) => void | Promise<void>;
}

/** Where a module is appended. */
export interface Step {
  readonly module: Module;
  readonly g: GraphBuilder;
  /** Names of the graph's inputs. */
  readonly inputs: readonly string[];
  /** What was written so far, by name. */
  readonly features: Map<string, Feature>;
}

/** The feature that holds the vector of a text; an output of this name in graphs of bi-encoders. */
export const VECTOR = 'sentence_embedding';

/** The feature that holds what a cross-encoder returns. */
export const SCORES = 'scores';

function checkFields({ settings }: Module, known: readonly string[]): void {
  const other = settings.fields().find((field) => !known.includes(field));
  if (other !== undefined) throw settings.fault(other, `only fields ${known.join(', ')}`, 'this one');
}

function textField(settings: Settings, field: string, otherwise: string): string {
  const value = settings.get(field) ?? otherwise;
  if (typeof value === 'string') return value;
  throw settings.fault(field, 'a name', JSON.stringify(value).slice(0, 80));
}

function read({ module, features }: Step, name: string, field: string): Feature {
  const found = features.get(name);
  if (found) return found;
  throw module.settings.fault(field, `one of ${[...features.keys()].join(', ')}`, name);
}

/** Reads the names of the features that a module reads and writes. */
function namesOf({ settings }: Module): { readonly from: string; readonly to: string } {
  const from = textField(settings, 'module_input_name', VECTOR);
  return { from, to: textField(settings, 'module_output_name', from) };
}

function checkWidth(settings: Settings, field: string, { width }: Feature): number {
  const stated = settings.count(field);
  if (width !== undefined && width !== stated) throw settings.fault(field, `${width}, as before it`, String(stated));
  return stated;
}

/** Reads a module's weights under names that no other module has. */
async function partsOf({ module, g }: Step): Promise<Parts> {
  const weights = await readWeights(module.folder);
  const named = new Map([...weights].map(([name, value]) => [`${module.name}.${name}`, value] as const));
  return { g, checkpoint: new Checkpoint(module.folder, module.settings, named), written: new Set() };
}

/** Reads the modes of a Pooling: a name, several, or the flags of older files. */
export function poolingModes(settings: Settings) {
  const stated = settings.get('pooling_mode');
  const flagged = POOLING_FLAGS.filter(([flag]) => settings.flag(flag, false)).map(([, mode]) => mode);
  const listed = stated === undefined ? (flagged.length > 0 ? flagged : ['mean']) : stated;
  const words: readonly unknown[] = Array.isArray(listed) ? listed : [listed];
  if (words.length === 0) throw settings.fault('pooling_mode', 'a mode', 'none');
  return words.map((word) => {
    const mode = poolingMode(word);
    if (mode !== undefined) return mode;
    throw settings.fault('pooling_mode', `one of ${POOLING_MODES.join(', ')}`, JSON.stringify(word).slice(0, 80));
  });
}

const WIDTH_FIELDS = ['embedding_dimension', 'word_embedding_dimension'] as const;

/** Appends the pooling of tokens to one vector. `include_prompt` has no effect, because no prompt stands before a pair. */
export function appendPooling(step: Step): void {
  const { module, g, features, inputs } = step;
  const { settings } = module;
  checkFields(module, [...WIDTH_FIELDS, 'pooling_mode', 'include_prompt', ...POOLING_FLAGS.map(([flag]) => flag)]);
  settings.flag('include_prompt', true);
  const states = read(step, 'token_embeddings', 'pooling_mode');
  const field = settings.get(WIDTH_FIELDS[0]) === undefined ? WIDTH_FIELDS[1] : WIDTH_FIELDS[0];
  const width = checkWidth(settings, field, states);
  const modes = poolingModes(settings);
  if (!inputs.includes(MASK_INPUT))
    throw settings.fault('pooling_mode', `a graph with input ${MASK_INPUT}`, inputs.join(', '));
  features.set(VECTOR, { value: pool(g, states.value, modes), width: modes.length * width, isTokens: false });
}

/** Returns a module that pools by a mode which the caller states, whatever files say. */
export const poolingBy =
  (mode: PoolingMode): Module['append'] =>
  (step) => {
    const { module, g, features, inputs } = step;
    if (!inputs.includes(MASK_INPUT))
      throw module.settings.fault('pooling', `a graph with input ${MASK_INPUT}`, inputs.join(', '));
    const states = read(step, 'token_embeddings', 'pooling');
    features.set(VECTOR, { value: pool(g, states.value, [mode]), width: states.width, isTokens: false });
  };

function activationOf(settings: Settings, isTokens: boolean, width: number): TorchActivation {
  const path = textField(settings, 'activation_function', 'torch.nn.modules.activation.Tanh');
  const found = torchActivation(path);
  const fault = (expected: string) => settings.fault('activation_function', expected, path.slice(0, 120));
  if (!found) throw fault(`a class of torch.nn: ${TORCH_ACTIVATION_NAMES.join(', ')}`);
  if (found.halves && width % 2 !== 0) throw fault(`an even out_features, not ${width}`);
  if (found.perRow && isTokens) throw fault('a function of each token alone');
  return found;
}

const DENSE_FIELDS = [
  'in_features',
  'out_features',
  'bias',
  'activation_function',
  'module_input_name',
  'module_output_name',
  'use_residual',
];

/** Appends a linear layer with its activation function. */
export async function appendDense(step: Step): Promise<void> {
  const { module, g, features } = step;
  const { settings, name } = module;
  checkFields(module, DENSE_FIELDS);
  const { from, to } = namesOf(module);
  const input = read(step, from, 'module_input_name');
  const inside = checkWidth(settings, 'in_features', input);
  const outside = settings.count('out_features');
  const activation = activationOf(settings, input.isTokens, outside);
  const isResidual = settings.flag('use_residual', false);
  if (isResidual && activation.halves) throw settings.fault('use_residual', 'false, because GLU halves', 'true');
  const parts = await partsOf(step);
  const bias = settings.flag('bias', true);
  const x = linear(parts, input.value, `${name}.linear`, { from: inside, to: outside, bias });
  const slope = () => {
    const weight = `${name}.activation_function.weight`;
    return g.initializer(weight, parts.checkpoint.take(weight, [1]));
  };
  const active = activation.apply(g, x, outside, slope);
  const skipped = () =>
    inside === outside
      ? input.value
      : linear(parts, input.value, `${name}.residual`, { from: inside, to: outside, bias: false });
  const value = isResidual ? g.add(active, skipped()) : active;
  parts.checkpoint.checkUnused([`${name}.`]);
  features.set(to, { value, width: activation.halves ? outside / 2 : outside, isTokens: input.isTokens });
}

/** PyTorch's default. */
const NORM_EPSILON = 1e-5;

/** Appends a layer normalization of the vector. */
export async function appendLayerNorm(step: Step): Promise<void> {
  const { module, features } = step;
  checkFields(module, ['dimension']);
  const input = read(step, VECTOR, 'dimension');
  const size = checkWidth(module.settings, 'dimension', input);
  const parts = await partsOf(step);
  const value = norm(parts, input.value, `${module.name}.norm`, { size, epsilon: NORM_EPSILON });
  parts.checkpoint.checkUnused([`${module.name}.`]);
  features.set(VECTOR, { ...input, value });
}

/** The shortest length that a vector is divided by; PyTorch's. */
const SHORTEST = 1e-12;

/** Returns vectors divided by their Euclidean length. */
export function unit(g: GraphBuilder, vectors: string): string {
  const length = g.op('ReduceL2', [vectors, g.ints([-1])], { keepdims: 1 });
  return g.div(vectors, g.op('Max', [length, g.scalar(SHORTEST)]));
}

/** Appends a division by the Euclidean length. A feature that was not written stays so, as in sentence-transformers. */
export function appendNormalize({ module, g, features }: Step): void {
  checkFields(module, ['module_input_name', 'module_output_name']);
  const { from, to } = namesOf(module);
  const input = features.get(from);
  if (!input) return;
  features.set(to, { ...input, value: unit(g, input.value) });
}

/** Reads the token ids of a LogitScore. */
export function answersIn({ settings }: Pick<Module, 'settings'>): Answers {
  const id = (field: string): number => {
    const value = settings.get(field);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw settings.fault(field, 'a token id', JSON.stringify(value ?? null).slice(0, 80));
  };
  return {
    yes: id('true_token_id'),
    no: settings.get('false_token_id') === undefined ? undefined : id('false_token_id'),
  };
}

/** Makes the logits that a language model gives its answers the scores: its head was narrowed to them before. */
export function appendLogitScore(step: Step): void {
  const { module, features } = step;
  checkFields(module, ['true_token_id', 'false_token_id', 'module_input_name']);
  const name = textField(module.settings, 'module_input_name', 'causal_logits');
  features.set(SCORES, read(step, name, 'module_input_name'));
}
