import { z } from 'zod';
import { describe } from '../../errors.ts';
import { invalidField } from '../faults.ts';
import type { AnswerText, Limits } from './dialect.ts';
import { checkCount } from './fields.ts';
import { count, flag, integer, shortList } from './scalars.ts';
import { type BinaryTexts, readTexts } from './tensors.ts';

/* The tensors of KServe's protocol: those of a request, as lists or as bytes, and those of its answer. */

/** Bounds far above what a valid body has. */
const MOST_TENSORS = 16;
const MOST_DIMENSIONS = 16;

const region = z.string().nullish().meta({ description: 'Shared memory is refused: tensors stand in the body.' });

const inputParameters = z
  .object({
    binary_data_size: integer(0, 2 ** 31, 'Triton: bytes of this tensor behind the JSON; it then has no `data`.'),
    shared_memory_region: region,
  })
  .nullish();

const inputTensor = z.object({
  name: z.string().meta({ description: '`query` or `passages`.' }),
  shape: shortList(count(0), MOST_DIMENSIONS),
  datatype: z.literal('BYTES'),
  data: z
    .array(z.unknown())
    .nullish()
    .meta({ items: { anyOf: [{ type: 'string' }, { type: 'array', items: {} }] } }),
  parameters: inputParameters,
});

export const inputTensors = shortList(inputTensor, MOST_TENSORS);

type Inputs = z.infer<typeof inputTensors>;
type Input = Inputs[number];

const outputParameters = z
  .object({
    binary_data: flag('Triton: the tensor as bytes behind the JSON; overrules `binary_data_output`.'),
    classification: integer(0, 1_000_000, 'Triton: refused above 0, because scores have no classes.'),
    shared_memory_region: region,
  })
  .nullish();

const OUTPUTS = ['scores', 'indices'] as const;
type OutputName = (typeof OUTPUTS)[number];

export const wantedOutputs = shortList(
  z.object({ name: z.string().meta({ description: '`scores` or `indices`.' }), parameters: outputParameters }),
  MOST_TENSORS,
);

type Wanted = z.infer<typeof wantedOutputs>;

const sizeOf = ({ shape }: Input): number => shape.reduce((product, n) => product * n, 1);

/** Appends the members of a nested list in row-major order, until there are more than `most`. */
function flatten(list: readonly unknown[], levels: number, most: number, into: unknown[]): readonly unknown[] {
  for (const member of list) {
    if (into.length > most) break;
    if (levels > 0 && Array.isArray(member)) flatten(member, levels - 1, most, into);
    else into.push(member);
  }
  return into;
}

/** Returns the texts of an input, which `unpackInputs` has unpacked. @throws WinnowError `invalid_field`. */
export function textsAt(
  inputs: Inputs,
  name: 'query' | 'passages',
): { readonly data: readonly unknown[]; readonly field: string } {
  const at = inputs.findIndex((tensor) => tensor.name === name);
  const found = inputs[at];
  if (!found) throw invalidField(`an input named \`${name}\``, 'none', 'inputs');
  const size = sizeOf(found);
  const list = found.data ?? [];
  const field = `inputs[${at}].data`;
  const isNested = found.shape.length > 1 && Array.isArray(list[0]);
  const data = isNested ? flatten(list, found.shape.length - 1, size, []) : list;
  if (size === data.length) return { data, field };
  throw invalidField(
    `${size} strings, as the shape says`,
    isNested && data.length > size ? 'more' : data.length,
    field,
  );
}

function checkInput({ name, data, parameters }: Input, at: number, inputs: Inputs): void {
  const place = `inputs[${at}]`;
  const size = parameters?.binary_data_size ?? undefined;
  if (name !== 'query' && name !== 'passages')
    throw invalidField('`query` or `passages`', describe(name), `${place}.name`);
  if (inputs.findIndex((other) => other.name === name) < at)
    throw invalidField(`one input named \`${name}\``, 'another one', `${place}.name`);
  if (parameters?.shared_memory_region)
    throw invalidField('a tensor in the body', 'shared memory', `${place}.parameters.shared_memory_region`);
  if (data && size !== undefined)
    throw invalidField('either `data` or `binary_data_size`', 'both', `${place}.parameters.binary_data_size`);
  if (!data && size === undefined) throw invalidField('an array, or `binary_data_size`', 'nothing', `${place}.data`);
}

/** Returns the inputs whose bytes follow the JSON, after a check that none asks for more texts than a request may have. */
function binaryTexts(inputs: Inputs, limits: Limits): readonly BinaryTexts[] {
  return inputs.flatMap((input, at) => {
    const size = input.parameters?.binary_data_size ?? undefined;
    if (size === undefined) return [];
    const texts = { field: `inputs[${at}].data`, count: sizeOf(input), size };
    if (input.name === 'passages') checkCount(texts.count, texts.field, limits);
    else if (texts.count !== 1) throw invalidField('one query', `${texts.count}`, `inputs[${at}].shape`);
    return [texts];
  });
}

/**
 * Puts the texts that follow the JSON as bytes into the `data` of their inputs.
 * @throws WinnowError `invalid_field`, `empty_passages`, `too_many_passages`.
 */
export async function unpackInputs(
  inputs: Inputs,
  bytes: Buffer,
  limits: Limits,
): Promise<{ readonly inputs: Inputs; readonly repaired: number }> {
  for (const [at, input] of inputs.entries()) checkInput(input, at, inputs);
  const { texts, repaired } = await readTexts(bytes, binaryTexts(inputs, limits));
  let next = 0;
  const unpacked = inputs.map((input) => (input.data ? input : { ...input, data: [...texts[next++]!] }));
  return { inputs: unpacked, repaired };
}

/** An output to write. */
interface ChosenOutput {
  readonly name: OutputName;
  readonly binary: boolean;
}

const isOutput = (name: string): name is OutputName => OUTPUTS.some((known) => known === name);

/**
 * Returns the outputs that a request names; if it names none, the scores, and their places where some are left out.
 * @throws WinnowError `invalid_field` for an unknown output, one named twice, and what outputs cannot be.
 */
export function chooseOutputs(
  wanted: Wanted | null | undefined,
  allBinary: boolean,
  hasGaps: boolean,
): readonly ChosenOutput[] {
  if (!wanted || wanted.length === 0)
    return OUTPUTS.filter((name) => name === 'scores' || hasGaps).map((name) => ({ name, binary: allBinary }));
  return wanted.map(({ name, parameters }, at) => {
    const place = `outputs[${at}]`;
    if (!isOutput(name)) throw invalidField('`scores` or `indices`', describe(name), `${place}.name`);
    if (wanted.findIndex((other) => other.name === name) < at)
      throw invalidField(`one output named \`${name}\``, 'another one', `${place}.name`);
    if (parameters?.classification)
      throw invalidField('scores without classes', parameters.classification, `${place}.parameters.classification`);
    if (parameters?.shared_memory_region)
      throw invalidField('a tensor in the answer', 'shared memory', `${place}.parameters.shared_memory_region`);
    return { name, binary: parameters?.binary_data ?? allBinary };
  });
}

/** The values of an output. */
export interface OutputValues {
  readonly datatype: 'FP32' | 'INT64';
  readonly count: number;
  readonly bytesPerValue: number;
  /** Writes value `i` as JSON. */
  text(i: number): string;
  /** Writes value `i` into bytes, in little-endian order. */
  write(i: number, into: Buffer): void;
}

/** Puts text before what follows. */
const before = (text: string, rest: AnswerText | string): AnswerText | string =>
  typeof rest === 'string' ? text + rest : { ...rest, head: text + rest.head };

/** Returns `"outputs":[…]}` with the values of the chosen outputs, in their order, and the bytes of those that are binary. */
export function outputText(
  chosen: readonly ChosenOutput[],
  values: Readonly<Record<OutputName, OutputValues>>,
): AnswerText {
  const binary: Buffer[] = [];
  let rest: AnswerText | string = ']}';
  for (const [at, output] of [...chosen.entries()].reverse()) {
    const { datatype, count: length, bytesPerValue, text, write } = values[output.name];
    const start = `${at > 0 ? ',' : '"outputs":['}{"name":"${output.name}","datatype":"${datatype}","shape":[${length}],`;
    if (!output.binary) {
      rest = { head: `${start}"data":[`, count: length, item: text, tail: before(']}', rest) };
      continue;
    }
    const bytes = Buffer.alloc(length * bytesPerValue);
    for (let i = 0; i < length; i++) write(i, bytes);
    binary.unshift(bytes);
    rest = before(`${start}"parameters":{"binary_data_size":${bytes.length}}}`, rest);
  }
  const text: AnswerText = typeof rest === 'string' ? { head: rest, count: 0, item: () => '', tail: '' } : rest;
  return binary.length > 0 ? { ...text, binary: Buffer.concat(binary) } : text;
}
