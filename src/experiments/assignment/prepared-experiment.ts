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

/** A definition with everything that requests need worked out beforehand. */
export interface PreparedExperiment {
  readonly definition: Experiment;
  /** Names the definition by its content. */
  readonly hash: string;
  readonly seed: string;
  readonly hashVersion: HashVersion;
  readonly ranges: readonly BucketRange[];
  readonly namespace: Namespace | undefined;
  readonly control: Arm;
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly end: number;
  /** Models by which a request that names one is inside. */
  readonly targets: readonly string[];
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Returns `name` of `name`, `name@version` and `name:label`. */
const modelName = (reference: string): string => reference.split(/[@:]/, 1)[0]!;

/** Whether a reference names one exact version; such requests are outside all experiments. */
export const namesVersion = (reference: string | undefined): boolean => reference?.includes('@') ?? false;

/** Returns the seed by which a definition draws units. */
export const seedOf = ({ hash, name }: Pick<Experiment, 'hash' | 'name'>): string => hash.seed ?? name;

/** Returns each arm's interval of the unit line. */
export function rangesOf({ arms, coverage }: Pick<Experiment, 'arms' | 'coverage'>): readonly BucketRange[] {
  const total = arms.reduce((sum, { weight }) => sum + weight, 0);
  return bucketRanges(
    arms.map(({ weight }) => weight / total),
    coverage,
  );
}

/** Prepares a definition for requests. */
export function prepareExperiment(definition: Experiment): PreparedExperiment {
  const { arms, hash, namespace, when } = definition;
  const control = arms.find(({ name }) => name === definition.control)!;
  return {
    definition,
    hash: configHash(definition),
    seed: seedOf(definition),
    hashVersion: hash.version,
    ranges: rangesOf(definition),
    namespace: namespace && { name: namespace.name, range: [namespace.range[0]!, namespace.range[1]!] },
    control,
    start: definition.start === undefined ? Number.NEGATIVE_INFINITY : Date.parse(definition.start),
    end: definition.end === undefined ? Number.POSITIVE_INFINITY : Date.parse(definition.end),
    targets: when?.model === undefined ? [control.model, modelName(control.model)] : [when.model],
    headers: Object.entries(when?.header ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
  };
}

export type ExperimentStatus = 'running' | 'scheduled' | 'ended' | 'disabled';

/** @param now milliseconds since 1970. */
export function statusOf({ definition, start, end }: PreparedExperiment, now: number): ExperimentStatus {
  if (!definition.enabled) return 'disabled';
  if (now < start) return 'scheduled';
  return now < end ? 'running' : 'ended';
}

/**
 * Whether an experiment targets a request, by its `when`. A request that names a model must name the experiment's: `when.model`, or
 * control's where that is not given. A request that names none is targeted if `when.model` is absent or the default model.
 */
export function targetsRequest(
  prepared: PreparedExperiment,
  request: HookRequest,
  defaultModel: string | undefined,
): boolean {
  const { when } = prepared.definition;
  const { model, subject } = request;
  if (model !== undefined && model !== '') {
    if (!prepared.targets.includes(model)) return false;
  } else if (when?.model && when.model !== defaultModel) return false;
  if (when?.key !== undefined && subject?.key !== when.key) return false;
  return prepared.headers.every(([name, value]) => subject?.headers?.[name] === value);
}

/** Returns the index of the arm a unit is assigned to, -1 outside coverage or namespace. The same unit always gets the same arm. */
export function assign({ namespace, seed, hashVersion, ranges }: PreparedExperiment, unit: string): number {
  if (namespace && !inNamespace(unit, namespace)) return -1;
  return armAt(unitPoint(seed, unit, hashVersion), ranges);
}
