import {
  type Client,
  ErrorCode,
  type EvaluationContext,
  type JsonValue,
  OpenFeature,
  type Provider,
  type ResolutionDetails,
  StandardResolutionReasons,
  type TrackingEventDetails,
} from '@openfeature/server-sdk';
import { type ArmDecider, armNamed } from './assignment/deciders.ts';
import { assign, type PreparedExperiment, statusOf } from './assignment/prepared-experiment.ts';
import type { Arm } from './definitions/definition.ts';
import type { ExperimentService } from './experiment-service.ts';
import type { ExperimentsApi } from './experiments-api.ts';
import type { ExperimentObserver } from './ports.ts';
import { armKey } from './recording/guardrails.ts';

/*
 * OpenFeature in both directions: an existing flag system decides the arm of each unit, or other code of the same process reads Winnow's
 * decisions as flags.
 */

/**
 * Makes a decider of an OpenFeature client. The flag has the experiment's name, its value (or variant) is the name of an arm, and
 * `targetingKey` is the unit. A flag that fails, or names no arm, leaves the request outside the experiment.
 */
function openFeatureDecider(client: Pick<Client, 'getStringDetails'>, observer: ExperimentObserver = {}): ArmDecider {
  return {
    async decide({ experiment, unit, request }) {
      const { name, arms } = experiment;
      const context: EvaluationContext = {
        targetingKey: unit.id,
        unitKind: unit.kind,
        ...(request.model === undefined ? {} : { model: request.model }),
        ...(request.subject?.key === undefined ? {} : { key: request.subject.key }),
      };
      const details = await client.getStringDetails(name, '', context);
      if (details.errorCode) {
        const reason = `flag ${name}: ${details.errorCode} ${details.errorMessage ?? ''}`.trim();
        observer.onProblem?.({ where: 'provider', reason });
        return undefined;
      }
      return [details.value, details.variant].find((arm) => arms.some((one) => one.name === arm));
    },
  };
}

/**
 * Makes a decider of a provider.
 * @param domain keeps the provider apart from others in the same process.
 */
export async function providerDecider(
  provider: Provider,
  domain: string,
  observer: ExperimentObserver = {},
): Promise<ArmDecider> {
  await OpenFeature.setProviderAndWait(domain, provider);
  return openFeatureDecider(OpenFeature.getClient(domain), observer);
}

type Resolved = { readonly arm: Arm; readonly details: Omit<ResolutionDetails<never>, 'value'> };
type Unresolved = { readonly arm?: undefined; readonly details: Omit<ResolutionDetails<never>, 'value'> };

/** Offers arms of split experiments as flags: the flag's name is the experiment's, its value the arm's. */
export class WinnowProvider implements Provider {
  readonly metadata = { name: 'winnow' };
  readonly runsOn = 'server' as const;
  readonly #service: ExperimentService;
  readonly #api: Pick<ExperimentsApi, 'addOutcomes'>;

  constructor(service: ExperimentService, api: Pick<ExperimentsApi, 'addOutcomes'>) {
    this.#service = service;
    this.#api = api;
  }

  /** Resolves to the arm's name. */
  async resolveStringEvaluation(flag: string, fallback: string, context: EvaluationContext) {
    return this.#resolve(flag, fallback, context, ({ name }) => name);
  }

  /** Resolves to whether the unit is in an arm other than control. */
  async resolveBooleanEvaluation(flag: string, fallback: boolean, context: EvaluationContext) {
    return this.#resolve(flag, fallback, context, ({ name }, prepared) => name !== prepared.control.name);
  }

  /** Resolves to `{arm, model}`. */
  async resolveObjectEvaluation<T extends JsonValue>(flag: string, fallback: T, context: EvaluationContext) {
    return this.#resolve(flag, fallback, context, ({ name, model }) => ({ arm: name, model }) as JsonValue as T);
  }

  /** Resolves to a type mismatch: an arm is not a number. */
  async resolveNumberEvaluation(_flag: string, value: number): Promise<ResolutionDetails<number>> {
    return { value, reason: StandardResolutionReasons.ERROR, errorCode: ErrorCode.TYPE_MISMATCH };
  }

  /** Adds an outcome of the unit `targetingKey`; the event's name is the metric. One of a unit without exposures is dropped and reported. */
  track(metric: string, { targetingKey }: EvaluationContext, { value }: TrackingEventDetails): void {
    if (!targetingKey) return;
    if (this.#service.placeholders.has(targetingKey)) {
      this.#report(`outcome ${metric} of the unit ${targetingKey}, which counts as none`);
      return;
    }
    const at = this.#service.clock.now();
    this.#api.addOutcomes([{ unit: targetingKey, metric, at, ...(value === undefined ? {} : { value }) }]).then(
      ([result]) => {
        if (result!.status === 'unknown') this.#report(`outcome ${metric} of a unit that was never exposed`);
      },
      (error: unknown) => this.#report((error as Error).message),
    );
  }

  #report(reason: string): void {
    this.#service.observer.onProblem?.({ where: 'provider', reason });
  }

  async #resolve<T>(
    flag: string,
    fallback: T,
    context: EvaluationContext,
    toValue: (arm: Arm, prepared: PreparedExperiment) => T,
  ): Promise<ResolutionDetails<T>> {
    const prepared = this.#service.experiments.find(
      ({ definition }) => definition.name === flag && definition.mode === 'split',
    );
    if (!prepared) {
      const message = `no split experiment ${flag}`;
      const reason = StandardResolutionReasons.ERROR;
      return { value: fallback, reason, errorCode: ErrorCode.FLAG_NOT_FOUND, errorMessage: message };
    }
    const { arm, details } = await this.#assigned(prepared, context.targetingKey);
    return { ...details, value: arm ? toValue(arm, prepared) : fallback };
  }

  /** Returns the arm by Winnow's hash, or the one a unit of a sticky experiment keeps. */
  async #armOf(prepared: PreparedExperiment, id: string): Promise<Arm | undefined> {
    const { definition } = prepared;
    if (!definition.sticky) return definition.arms[assign(prepared, id)];
    const request = { requestId: '', query: '', passages: [] };
    const unit = { kind: definition.unit, id };
    return armNamed(
      definition,
      await this.#service.decider.decide({ prepared, experiment: definition, unit, request }),
    );
  }

  async #assigned(prepared: PreparedExperiment, unit: string | undefined): Promise<Resolved | Unresolved> {
    const { DISABLED, ERROR, DEFAULT, SPLIT } = StandardResolutionReasons;
    if (statusOf(prepared, this.#service.clock.now()) !== 'running') return { details: { reason: DISABLED } };
    if (!unit || this.#service.placeholders.has(unit))
      return { details: { reason: ERROR, errorCode: ErrorCode.TARGETING_KEY_MISSING } };
    const assigned = await this.#armOf(prepared, unit);
    if (!assigned) return { details: { reason: DEFAULT } };
    const tripped = this.#service.trips.has(armKey(prepared, assigned.name));
    const arm = tripped ? prepared.control : assigned;
    const flagMetadata = { model: arm.model, configHash: prepared.hash, assigned: assigned.name };
    return { arm, details: { reason: SPLIT, variant: arm.name, flagMetadata } };
  }
}
