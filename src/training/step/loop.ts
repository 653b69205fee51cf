import { MICROSOFT, modelOf, OPSET } from '../../onnx/builder.ts';
import { freezeGraph, freezeNode, type Graph, type Model, type Node, type ValueInfo } from '../../onnx/graph.ts';
import { tensor } from '../../onnx/tensor.ts';

/*
 * Several optimizer steps in one run: the step graph is the body of a Loop. Weights and moments go round the loop, and so stay on the
 * device; everything else a step is fed comes stacked, one slice a step, and everything it gives comes back stacked.
 */

/** Names of the outer graph. A body must not use names of the graph around it, so these differ from the step's. */
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
const GO_ON = 'loop.go_on';

const node = (op: string, inputs: readonly string[], outputs: readonly string[], attrs: Node['attrs'] = {}): Node =>
  freezeNode({ op, domain: '', name: `loop.${op}.${outputs[0]}`, inputs, outputs, attrs });

/** The step's inputs that are state: those it gives the next value of. */
function split(step: Graph): {
  state: readonly ValueInfo[];
  each: readonly ValueInfo[];
  results: readonly ValueInfo[];
} {
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

/** The body: slices of the stacked feeds, then the step. */
function bodyOf(step: Graph): Graph {
  const { state, each, results } = split(step);
  const slices = each.map((i) =>
    node('Gather', [LOOP.each(i.name), ITERATION], [i.name], { axis: { kind: 'int', value: 0 } }),
  );
  const goOn = `${NEXT}${GO_ON}`;
  return freezeGraph({
    name: 'step',
    inputs: [{ name: ITERATION, dtype: 'int64', dims: [] }, { name: GO_ON, dtype: 'bool', dims: [] }, ...state],
    outputs: [
      { name: goOn, dtype: 'bool', dims: [] },
      ...state.map((i) => ({ ...i, name: `${NEXT}${i.name}` })),
      ...results,
    ],
    initializers: step.initializers,
    nodes: [...slices, node('Identity', [GO_ON], [goOn]), ...step.nodes],
  });
}

/**
 * A model that runs as many steps as its stacked feeds have slices.
 * @param step graph of kind `step`: state `w` goes on as `next.w`.
 */
export function loopOf({ graph, ...model }: Model): Model {
  const { state, each, results } = split(graph);
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
