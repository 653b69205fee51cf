import { describe, expect, it } from 'vitest';
import { checkHalves, interactionVariants, statedInteraction } from '../../src/registry/interaction.ts';
import type { GraphFacts } from '../../src/registry/onnx-scan.ts';

const codeOf = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
};

const values = (shapes: Readonly<Record<string, readonly (number | undefined)[]>>) =>
  Object.entries(shapes).map(([name, shape]) => ({ name, shape }));
const graph = (part: Partial<GraphFacts>): GraphFacts => ({
  inputs: [],
  outputs: [],
  external: [],
  ops: new Set(),
  producer: 'winnow',
  ...part,
});
const N = undefined;
const KEPT = { states: [N, N, 16], scales: [N, N], vector: [N, 16] };
const top = (kept: Readonly<Record<string, readonly (number | undefined)[]>> = KEPT) =>
  graph({
    inputs: values({ input_ids: [N, N], attention_mask: [N, N], query_of: [N], passage_mask: [N, N], ...kept }),
  });
const passages = (kept: Readonly<Record<string, readonly (number | undefined)[]>> = KEPT) =>
  graph({ inputs: values({ input_ids: [N, N], attention_mask: [N, N] }), outputs: values(kept) });
const FILES = { top: 'onnx/top.onnx', passages: 'onnx/passage.onnx' };

describe('the variants of an interaction model', () => {
  it('are both files, or a half in another format with the other as exported', () => {
    const both = ['onnx/top.onnx', 'onnx/passage.onnx'];
    expect(interactionVariants(both)).toEqual([{ name: 'fp32', file: both[0], passages: both[1] }]);
    expect(interactionVariants([...both, 'onnx/passage_int8.onnx'])[1]).toEqual({
      name: 'int8',
      file: 'onnx/top.onnx',
      passages: 'onnx/passage_int8.onnx',
    });
  });

  it('have no exported form where a smaller file replaces one half', () => {
    expect(interactionVariants(['onnx/top.onnx', 'onnx/passage_int8.onnx'])).toEqual([
      { name: 'int8', file: 'onnx/top.onnx', passages: 'onnx/passage_int8.onnx' },
    ]);
    expect(interactionVariants(['onnx/top_int8.onnx', 'onnx/passage.onnx'])).toEqual([
      { name: 'int8', file: 'onnx/top_int8.onnx', passages: 'onnx/passage.onnx' },
    ]);
  });

  it('lack no half', () => {
    expect(codeOf(() => interactionVariants(['onnx/top.onnx']))).toContain('onnx/passage.onnx');
    expect(codeOf(() => interactionVariants(['onnx/passage.onnx']))).toContain('the other half of onnx/passage.onnx');
    expect(codeOf(() => interactionVariants(['onnx/passage_int8.onnx']))).toContain('onnx/top_int8.onnx');
    expect(codeOf(() => interactionVariants(['onnx/model.onnx']))).toContain('both ONNX files');
  });
});

describe('both graphs of an interaction model', () => {
  it('fit each other', () => {
    expect(checkHalves(top(), passages(), FILES).map(({ name }) => name)).toEqual(['input_ids', 'attention_mask']);
    const half = { states: [N, N, 16] };
    expect(codeOf(() => checkHalves(top(half), passages(half), FILES))).toBe('accepted');
  });

  it.each([
    ['a width', top(), passages({ ...KEPT, states: [N, N, 8] }), 'states of width 16'],
    ['a vector that is not read', top({ states: [N, N, 16], scales: [N, N] }), passages(), 'an input vector'],
    ['a vector that is not given', top(), passages({ states: [N, N, 16], scales: [N, N] }), 'an output vector'],
    ['no rows of queries', graph({ inputs: values({ input_ids: [N, N], ...KEPT }) }), passages(), 'an input query_of'],
  ])('are refused with %s', (_, one, other, expected) => {
    expect(codeOf(() => checkHalves(one, other, FILES))).toContain(expected);
  });
});

describe('what model.json and config.json say of an interaction model', () => {
  const config = { interaction: { form: 'cosine', queryPrefix: 'q: ', passagePrefix: 'p: ' } };
  it('is its prefixes, of model.json first', () => {
    expect(statedInteraction(undefined, config, 'model.json')).toEqual({
      queryPrefix: 'q: ',
      passagePrefix: 'p: ',
      scale: 1,
    });
    const manifest = { format: 1, kind: 'interaction', queryPrefix: 'x: ' } as const;
    expect(statedInteraction(manifest, config, 'model.json')).toMatchObject({
      queryPrefix: 'x: ',
      passagePrefix: 'p: ',
    });
    expect(statedInteraction({ format: 1 }, {}, 'model.json')).toBeUndefined();
  });

  it('does not contradict itself', () => {
    const of = (manifest: object, from: object = config) =>
      codeOf(() => statedInteraction({ format: 1, ...manifest }, from as typeof config, 'model.json'));
    expect(of({ kind: 'bi-encoder' })).toContain('"kind": "interaction"');
    expect(of({ kind: 'interaction' }, {})).toContain('config.json');
    expect(of({ scale: 2 })).toContain('no scale');
    expect(of({}, { interaction: { queryPrefix: 1 } })).toContain('interaction.queryPrefix');
  });
});
