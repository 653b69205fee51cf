import type { Arm } from '../definitions/definition.ts';
import type { ArmChoice, Decision, HookRequest } from '../ports.ts';
import { type ArmDecider, armNamed } from './deciders.ts';
import { assign, namesVersion, type PreparedExperiment, statusOf, targetsRequest } from './prepared-experiment.ts';
import { type Unit, unitOf } from './units.ts';

/** A shadow arm and the experiment it belongs to. */
interface ShadowChoice extends ArmChoice {
  readonly prepared: PreparedExperiment;
  /** The arm's name in its experiment; `arm` is unique in the decision. */
  readonly name: string;
}

/** What experiments want done with one request, and what its exposures will say. */
export interface RequestDecision extends Decision {
  readonly shadows: readonly ShadowChoice[];
  /** The experiment that answers; absent where the request is only shadowed. */
  readonly answering?: Answering;
  /** Experiments that shadow this request, with its unit in each. */
  readonly shadowing: readonly { readonly prepared: PreparedExperiment; readonly unit: Unit }[];
}

export interface Answering {
  readonly prepared: PreparedExperiment;
  readonly unit: Unit;
  /** The arm assigned; `interleaved` where all of them answer. */
  readonly arm: string;
  readonly forced: boolean;
  /** A guardrail took the arm out: control answers in its place. */
  readonly tripped: boolean;
}

/** The arm of exposures to interleaved rankings. */
const INTERLEAVED = 'interleaved';

export interface DecisionContext {
  readonly experiments: readonly PreparedExperiment[];
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly defaultModel: string | undefined;
  readonly decider: ArmDecider;
  /** Whether a guardrail took an arm out. */
  tripped(prepared: PreparedExperiment, arm: string): boolean;
}

type ShadowPart = Pick<RequestDecision, 'shadows' | 'shadowing'>;
type AnsweringPart = Omit<RequestDecision, keyof ShadowPart>;

const choiceOf = ({ name, model, instruction }: Arm): ArmChoice => ({
  arm: name,
  model,
  ...(instruction === undefined ? {} : { instruction }),
});

/** Returns the experiment and arm that `x-winnow-arm: ARM` or `EXPERIMENT/ARM` names, whether the experiment is running or not. */
function forcedArm(
  context: DecisionContext,
  request: HookRequest,
): { prepared: PreparedExperiment; arm: Arm } | undefined {
  const wanted = request.subject?.forcedArm;
  if (!wanted) return undefined;
  const [armName, experiment] = wanted.split('/').reverse();
  for (const prepared of context.experiments) {
    const { definition } = prepared;
    const arm = armNamed(definition, armName);
    const isMeant =
      experiment === undefined
        ? targetsRequest(prepared, request, context.defaultModel)
        : experiment === definition.name;
    if (arm && isMeant) return { prepared, arm };
  }
  return undefined;
}

function forcedDecision(
  { prepared, arm }: { prepared: PreparedExperiment; arm: Arm },
  request: HookRequest,
): RequestDecision {
  const unit = unitOf(request, prepared.definition.unit);
  return {
    experiment: prepared.definition.name,
    arms: [choiceOf(arm)],
    control: choiceOf(prepared.control),
    shadows: [],
    answering: { prepared, unit, arm: arm.name, forced: true, tripped: false },
    shadowing: [],
  };
}

function splitDecision(prepared: PreparedExperiment, unit: Unit, arm: Arm, context: DecisionContext): AnsweringPart {
  const tripped = arm.name !== prepared.control.name && context.tripped(prepared, arm.name);
  return {
    experiment: prepared.definition.name,
    arms: [choiceOf(tripped ? prepared.control : arm)],
    control: choiceOf(prepared.control),
    answering: { prepared, unit, arm: arm.name, forced: false, tripped },
  };
}

function interleavedDecision(prepared: PreparedExperiment, unit: Unit, context: DecisionContext): AnsweringPart {
  const active = prepared.definition.arms.filter(
    ({ name }) => name === prepared.control.name || !context.tripped(prepared, name),
  );
  const [first, ...rest] = active.map(choiceOf) as [ArmChoice, ...ArmChoice[]];
  return {
    experiment: prepared.definition.name,
    arms: [first, ...rest],
    control: choiceOf(prepared.control),
    answering: { prepared, unit, arm: INTERLEAVED, forced: false, tripped: rest.length === 0 },
  };
}

/** Returns what one experiment decides; nothing where its split or interleaving does not take the request's unit. */
function decideByOne(
  prepared: PreparedExperiment,
  request: HookRequest,
  context: DecisionContext,
): AnsweringPart | undefined | Promise<AnsweringPart | undefined> {
  const { definition } = prepared;
  const unit = unitOf(request, definition.unit);
  if (definition.mode === 'interleave')
    return assign(prepared, unit.id) < 0 ? undefined : interleavedDecision(prepared, unit, context);
  const toDecision = (name: string | undefined) => {
    const arm = armNamed(definition, name);
    return arm && splitDecision(prepared, unit, arm, context);
  };
  const name = context.decider.decide({ prepared, experiment: definition, unit, request });
  return name instanceof Promise ? name.then(toDecision) : toDecision(name);
}

/** Returns the decision of the first experiment that takes the request. A promise only where the decider gives one. */
function decideInOrder(
  experiments: readonly PreparedExperiment[],
  request: HookRequest,
  context: DecisionContext,
): AnsweringPart | undefined | Promise<AnsweringPart | undefined> {
  for (const [i, prepared] of experiments.entries()) {
    const decision = decideByOne(prepared, request, context);
    if (decision instanceof Promise)
      return decision.then((settled) => settled ?? decideInOrder(experiments.slice(i + 1), request, context));
    if (decision) return decision;
  }
  return undefined;
}

function decideShadows(
  experiments: readonly PreparedExperiment[],
  request: HookRequest,
  context: DecisionContext,
): ShadowPart {
  const assigned = experiments
    .map((prepared) => ({ prepared, unit: unitOf(request, prepared.definition.unit) }))
    .filter(({ prepared, unit }) => assign(prepared, unit.id) >= 0);
  const shadows = assigned.flatMap(({ prepared }) =>
    prepared.definition.arms
      .filter(({ name }) => name !== prepared.control.name && !context.tripped(prepared, name))
      .map(({ name, model }) => ({ prepared, name, model, arm: `${prepared.definition.name}/${name}` })),
  );
  const shadowing = assigned.filter(({ prepared }) => shadows.some((shadow) => shadow.prepared === prepared));
  return { shadows, shadowing };
}

/** Joins both parts. A request that is only shadowed is answered by control of the first experiment that shadows it. */
function joinParts(answering: AnsweringPart | undefined, shadow: ShadowPart): RequestDecision | undefined {
  if (answering) return { ...answering, ...shadow };
  const [first] = shadow.shadowing;
  if (!first) return undefined;
  const control = choiceOf(first.prepared.control);
  return { experiment: first.prepared.definition.name, arms: [control], control, ...shadow };
}

/**
 * Decides what is done with a request. One experiment answers: the first in order, among those that run and target the request, whose
 * split or interleaving takes its unit. Every shadow experiment that targets it adds its arms.
 * @returns nothing for a request outside all experiments, and for one that names an exact version; a promise only where the decider gives
 * one.
 */
export function decide(
  request: HookRequest,
  context: DecisionContext,
): RequestDecision | undefined | Promise<RequestDecision | undefined> {
  // A request that the server makes itself (the warm-up) has no subject.
  if (context.experiments.length === 0 || !request.subject || namesVersion(request.model)) return undefined;
  const forced = forcedArm(context, request);
  if (forced) return forcedDecision(forced, request);
  const targeting = context.experiments.filter(
    (prepared) =>
      statusOf(prepared, context.now) === 'running' && targetsRequest(prepared, request, context.defaultModel),
  );
  if (targeting.length === 0) return undefined;
  const { shadow = [], answering = [] } = Object.groupBy(targeting, ({ definition: { mode } }) =>
    mode === 'shadow' ? 'shadow' : 'answering',
  );
  const shadows = decideShadows(shadow, request, context);
  const decision = decideInOrder(answering, request, context);
  return decision instanceof Promise
    ? decision.then((settled) => joinParts(settled, shadows))
    : joinParts(decision, shadows);
}
