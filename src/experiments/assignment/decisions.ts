import type { Arm } from '../definitions/definition.ts';
import type { ArmChoice, HookRequest } from '../ports.ts';
import { type ArmDecider, armNamed } from './deciders.ts';
import { assign, isAbout, namesVersion, type Plan, statusOf } from './prepared.ts';
import { type Unit, unitOf } from './units.ts';

/** A shadow arm and the experiment it belongs to. */
export interface ShadowChoice extends ArmChoice {
  readonly plan: Plan;
  /** The arm's name in its experiment; `arm` is unique in the decision. */
  readonly name: string;
}

/** What experiments want done with one request, and what its exposure will say. Fits the re-ranker's `Decision`. */
export interface RequestDecision {
  readonly experiment: string;
  readonly arms: readonly [ArmChoice, ...ArmChoice[]];
  readonly control: ArmChoice;
  readonly shadows: readonly ShadowChoice[];
  /** The experiment that answers; absent where the request is only shadowed. */
  readonly answering?: Answering;
  /** Experiments that shadow this request, with its unit in each. */
  readonly shadowing: readonly { readonly plan: Plan; readonly unit: Unit }[];
}

export interface Answering {
  readonly plan: Plan;
  readonly unit: Unit;
  /** The arm assigned; `interleaved` where all of them answer. */
  readonly arm: string;
  readonly forced: boolean;
  /** A guardrail took the arm out: control answers in its place. */
  readonly tripped: boolean;
}

/** The arm of exposures to interleaved rankings. */
export const INTERLEAVED = 'interleaved';

export interface DecisionContext {
  readonly plans: readonly Plan[];
  readonly now: number;
  readonly defaultModel: string | undefined;
  readonly decider: ArmDecider;
  /** Whether a guardrail took an arm out. */
  tripped(plan: Plan, arm: string): boolean;
}

const choice = ({ name, model }: Arm): ArmChoice => ({ arm: name, model });

/** The plan and arm that `x-winnow-arm: ARM` or `EXPERIMENT/ARM` means, whether it is running or not. */
function forcedArm(context: DecisionContext, request: HookRequest): { plan: Plan; arm: Arm } | undefined {
  const wanted = request.subject?.forcedArm;
  if (!wanted) return undefined;
  const [name, experiment] = wanted.split('/').reverse();
  for (const plan of context.plans) {
    const arm = armNamed(plan.definition, name);
    const named = experiment === undefined ? isAbout(plan, request, context.defaultModel) : true;
    if (arm && named && (experiment ?? plan.definition.name) === plan.definition.name) return { plan, arm };
  }
  return undefined;
}

function force({ plan, arm }: { plan: Plan; arm: Arm }, request: HookRequest): RequestDecision {
  const unit = unitOf(request, plan.definition.unit);
  return {
    experiment: plan.definition.name,
    arms: [choice(arm)],
    control: choice(plan.control),
    shadows: [],
    answering: { plan, unit, arm: arm.name, forced: true, tripped: false },
    shadowing: [],
  };
}

function split(plan: Plan, unit: Unit, arm: Arm, context: DecisionContext): Omit<RequestDecision, Shadow> {
  const tripped = arm.name !== plan.control.name && context.tripped(plan, arm.name);
  return {
    experiment: plan.definition.name,
    arms: [choice(tripped ? plan.control : arm)],
    control: choice(plan.control),
    answering: { plan, unit, arm: arm.name, forced: false, tripped },
  };
}

function interleave(plan: Plan, unit: Unit, context: DecisionContext): Omit<RequestDecision, Shadow> {
  const standing = plan.definition.arms.filter(
    ({ name }) => name === plan.control.name || !context.tripped(plan, name),
  );
  const [first, ...rest] = standing.map(choice) as [ArmChoice, ...ArmChoice[]];
  return {
    experiment: plan.definition.name,
    arms: [first, ...rest],
    control: choice(plan.control),
    answering: { plan, unit, arm: INTERLEAVED, forced: false, tripped: rest.length === 0 },
  };
}

type Shadow = 'shadows' | 'shadowing';

/** Asks the experiments that answer, in their order; the first that takes the request has it. */
async function answer(
  plans: readonly Plan[],
  request: HookRequest,
  context: DecisionContext,
): Promise<Omit<RequestDecision, Shadow> | undefined> {
  for (const plan of plans) {
    const found = await ask(plan, request, context);
    if (found) return found;
  }
  return undefined;
}

function ask(plan: Plan, request: HookRequest, context: DecisionContext) {
  const { definition } = plan;
  const unit = unitOf(request, definition.unit);
  if (definition.mode === 'interleave') return assign(plan, unit.id) < 0 ? undefined : interleave(plan, unit, context);
  const settle = (name: string | undefined) => {
    const arm = armNamed(definition, name);
    return arm && split(plan, unit, arm, context);
  };
  const name = context.decider.decide({ plan, experiment: definition, unit, request });
  return name instanceof Promise ? name.then(settle) : settle(name);
}

function shadowsOf(
  plans: readonly Plan[],
  request: HookRequest,
  context: DecisionContext,
): Pick<RequestDecision, Shadow> {
  const shadowing = plans
    .map((plan) => ({ plan, unit: unitOf(request, plan.definition.unit) }))
    .filter(({ plan, unit }) => assign(plan, unit.id) >= 0);
  const shadows = shadowing.flatMap(({ plan }) =>
    plan.definition.arms
      .filter(({ name }) => name !== plan.control.name && !context.tripped(plan, name))
      .map(({ name, model }) => ({ plan, name, model, arm: `${plan.definition.name}/${name}` })),
  );
  return { shadows, shadowing: shadowing.filter(({ plan }) => shadows.some((shadow) => shadow.plan === plan)) };
}

function join(
  answering: Omit<RequestDecision, Shadow> | undefined,
  shadow: Pick<RequestDecision, Shadow>,
): RequestDecision | undefined {
  if (answering) return { ...answering, ...shadow };
  const [first] = shadow.shadowing;
  if (!first) return undefined;
  const control = choice(first.plan.control);
  return { experiment: first.plan.definition.name, arms: [control], control, ...shadow };
}

/**
 * What to do with a request. One experiment answers: the first in order, among those running and about the request, whose split or
 * interleaving takes its unit. Every shadow experiment about it adds its arms. Nothing for a request outside all of them, and for one that
 * names an exact version. A promise only where the decider gives one.
 */
export function decide(
  request: HookRequest,
  context: DecisionContext,
): RequestDecision | undefined | Promise<RequestDecision | undefined> {
  // Requests that nobody sent (the warm-up) have no subject.
  if (context.plans.length === 0 || !request.subject || namesVersion(request.model)) return undefined;
  const forced = forcedArm(context, request);
  if (forced) return force(forced, request);
  const about = context.plans.filter(
    (plan) => statusOf(plan, context.now) === 'running' && isAbout(plan, request, context.defaultModel),
  );
  if (about.length === 0) return undefined;
  const { shadow = [], other = [] } = Object.groupBy(about, ({ definition: { mode } }) =>
    mode === 'shadow' ? 'shadow' : 'other',
  );
  const shadows = shadowsOf(shadow, request, context);
  for (const [i, plan] of other.entries()) {
    const found = ask(plan, request, context);
    if (found instanceof Promise)
      return found
        .then((settled) => settled ?? answer(other.slice(i + 1), request, context))
        .then((settled) => join(settled, shadows));
    if (found) return join(found, shadows);
  }
  return join(undefined, shadows);
}
