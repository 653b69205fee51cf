import { MICROSOFT, modelOf, OPSET } from '../../onnx/builder.ts';
import { freezeGraph, freezeNode, type Graph, type Model, type Node, type ValueInfo } from '../../onnx/graph.ts';
import { tensor } from '../../onnx/tensor.ts';

/*
 * Several optimizer steps in one run of the session: the step graph is the body of a Loop. Weights and moments are its carried state and so
 * stay on the device. All other inputs are stacked, one slice per step, and so are the outputs.
 */

/** Names in the outer graph; a body must not reuse names of the graph around it. */
export const LOOP = {
  /** Stacked feeds: [steps, …]. */
  each: (input: string) => `each.${input}`,
  /** State before and after. */
  from: (state: string) => `from.${state}`,
  after: (state: string) => `after.${state}`,
  /** Stacked results: [steps, …]. */
  all: (output: string) => `all.${output}`,
} as const;

const NEXT = 'next.';
const ITERATION = 'loop.iteration';
const CONTINUE = 'loop.go_on';

const node = (op: string, inputs: readonly string[], outputs: readonly string[], attrs: Node['attrs'] = {}): Node =>
  freezeNode({ op, domain: '', name: `loop.${op}.${outputs[0]}`, inputs, outputs, attrs });

interface StepParts {
  /** Inputs whose next value is an output. */
  readonly state: readonly ValueInfo[];
  /** Inputs that differ from step to step. */
  readonly each: readonly ValueInfo[];
  /** Outputs that are not state. */
  readonly results: readonly ValueInfo[];
}

/** Separates a step's state from its other inputs and outputs. */
function partsOf(step: Graph): StepParts {
  const next = new Set(step.outputs.map((o) => o.name));
  const carried = (i: ValueInfo): boolean => next.has(`${NEXT}${i.name}`);
  const state = step.inputs.filter(carried);
  const own = new Set(state.map((i) => `${NEXT}${i.name}`));
  return {
    state,
    each: step.inputs.filter((i) => !carried(i)),
    results: step.outputs.filter((o) => !own.has(o.name)),
  };
}

/** Makes the body: slices of the stacked inputs, then the step. */
function bodyOf(step: Graph): Graph {
  const { state, each, results } = partsOf(step);
  const slices = each.map((i) =>
    node('Gather', [LOOP.each(i.name), ITERATION], [i.name], { axis: { kind: 'int', value: 0 } }),
  );
  const nextCondition = `${NEXT}${CONTINUE}`;
  return freezeGraph({
    name: 'step',
    inputs: [{ name: ITERATION, dtype: 'int64', dims: [] }, { name: CONTINUE, dtype: 'bool', dims: [] }, ...state],
    outputs: [
      { name: nextCondition, dtype: 'bool', dims: [] },
      ...state.map((i) => ({ ...i, name: `${NEXT}${i.name}` })),
      ...results,
    ],
    initializers: step.initializers,
    nodes: [...slices, node('Identity', [CONTINUE], [nextCondition]), ...step.nodes],
  });
}

/**
 * Wraps a step in a Loop that runs as many steps as its stacked inputs have slices.
 * @param model graph of kind `step`: the next value of state `w` is the output `next.w`.
 */
export function loopOf({ graph, ...model }: Model): Model {
  const { state, each, results } = partsOf(graph);
  const stacked = each.map(({ name, dtype, dims }) => ({
    name: LOOP.each(name),
    ...(dtype && { dtype }),
    ...(dims && { dims: ['steps', ...dims] }),
  }));
  const [count, first, trips] = ['loop.count', 'loop.first', 'loop.trips'];
  const outputs = [...state.map((i) => LOOP.after(i.name)), ...results.map((o) => LOOP.all(o.name))];
  const outer = freezeGraph({
    name: 'steps',
    inputs: [...state.map((i) => ({ ...i, name: LOOP.from(i.name) })), ...stacked],
    outputs: [
      ...state.map((i) => ({ ...i, name: LOOP.after(i.name) })),
      ...results.map(({ name, dtype, dims }) => ({
        name: LOOP.all(name),
        ...(dtype && { dtype }),
        ...(dims && { dims: ['steps', ...dims] }),
      })),
    ],
    initializers: new Map([
      [first!, tensor('int64', [], [0])],
      ['loop.always', tensor('bool', [], [1])],
    ]),
    nodes: [
      node('Shape', [stacked[0]!.name], [count!]),
      node('Gather', [count!, first!], [trips!], { axis: { kind: 'int', value: 0 } }),
      node('Loop', [trips!, 'loop.always', ...state.map((i) => LOOP.from(i.name))], outputs, {
        body: { kind: 'graph', value: bodyOf(graph) },
      }),
    ],
  });
  return { ...modelOf(outer, model.opsets[''] ?? OPSET), opsets: { ...model.opsets, [MICROSOFT]: 1 } };
}
