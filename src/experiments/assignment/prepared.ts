import { type Arm, configHash, type Experiment } from '../definitions/definition.ts';
import type { HookRequest } from '../ports.ts';
import {
  armAt,
  type BucketRange,
  bucketRanges,
  type HashVersion,
  inNamespace,
  type Namespace,
  unitPoint,
} from './buckets.ts';

/** A definition made ready for requests. */
export interface Plan {
  readonly definition: Experiment;
  readonly hash: string;
  readonly seed: string;
  readonly hashVersion: HashVersion;
  readonly ranges: readonly BucketRange[];
  readonly namespace: Namespace | undefined;
  readonly control: Arm;
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly end: number;
  /** Models a request may name to be inside. */
  readonly targets: readonly string[];
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** `name` of `name`, `name@version` and `name:label`. */
const modelName = (reference: string): string => reference.split(/[@:]/, 1)[0]!;

/** Whether a reference names one exact version; such requests are outside all experiments. */
export const namesVersion = (reference: string | undefined): boolean => reference?.includes('@') ?? false;

export function planOf(definition: Experiment): Plan {
  const { arms, coverage, hash, namespace, when } = definition;
  const total = arms.reduce((sum, { weight }) => sum + weight, 0);
  const control = arms.find(({ name }) => name === definition.control)!;
  return {
    definition,
    hash: configHash(definition),
    seed: hash.seed ?? definition.name,
    hashVersion: hash.version,
    ranges: bucketRanges(
      arms.map(({ weight }) => weight / total),
      coverage,
    ),
    namespace: namespace && { name: namespace.name, range: [namespace.range[0]!, namespace.range[1]!] },
    control,
    start: definition.start === undefined ? Number.NEGATIVE_INFINITY : Date.parse(definition.start),
    end: definition.end === undefined ? Number.POSITIVE_INFINITY : Date.parse(definition.end),
    targets: when?.model === undefined ? [control.model, modelName(control.model)] : [when.model],
    headers: Object.entries(when?.header ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
  };
}

export type ExperimentStatus = 'running' | 'scheduled' | 'ended' | 'disabled';

export function statusOf(plan: Plan, now: number): ExperimentStatus {
  if (!plan.definition.enabled) return 'disabled';
  if (now < plan.start) return 'scheduled';
  return now < plan.end ? 'running' : 'ended';
}

/**
 * Whether a request is one the experiment is about. A request that names no model is if the experiment names none either, or names the
 * default model; one that names a model must name the experiment's, which is control's where `when.model` is not given.
 */
export function isAbout(plan: Plan, request: HookRequest, defaultModel: string | undefined): boolean {
  const { when } = plan.definition;
  const { model, subject } = request;
  if (model !== undefined && model !== '' ? !plan.targets.includes(model) : when?.model && when.model !== defaultModel)
    return false;
  if (when?.key !== undefined && subject?.key !== when.key) return false;
  return plan.headers.every(([name, value]) => subject?.headers?.[name] === value);
}

/** Index of the arm a unit is assigned to, -1 outside coverage or namespace. The same unit always gets the same arm. */
export function assign(plan: Plan, unit: string): number {
  if (plan.namespace && !inNamespace(unit, plan.namespace)) return -1;
  return armAt(unitPoint(plan.seed, unit, plan.hashVersion), plan.ranges);
}
