import { type PreparedExperiment, seedOf } from '../assignment/prepared-experiment.ts';
import { unitHash } from '../assignment/units.ts';
import type { Experiment } from '../definitions/definition.ts';
import { definitionHistory } from '../definitions/history.ts';
import type { ExperimentStore, StoredAssignment } from '../records.ts';

/** Reads the arms of units, and how they were drawn, from what was recorded. */
export function storedAssignments(store: () => Promise<ExperimentStore>, secret: () => Promise<string>) {
  /** Earlier definitions, for each present one. */
  const histories = new WeakMap<PreparedExperiment, Promise<ReadonlyMap<string, Experiment>>>();

  async function readHistory({ definition }: PreparedExperiment): Promise<ReadonlyMap<string, Experiment>> {
    return definitionHistory(await (await store()).audits(definition.name), definition);
  }

  function historyOf(prepared: PreparedExperiment): Promise<ReadonlyMap<string, Experiment>> {
    const known = histories.get(prepared) ?? readHistory(prepared);
    histories.set(prepared, known);
    known.catch(() => histories.delete(prepared));
    return known;
  }

  return {
    async assignments(experiment: string, unitId: string): Promise<readonly StoredAssignment[]> {
      const [opened, key] = await Promise.all([store(), secret()]);
      return opened.assignments(experiment, unitHash(key, unitId));
    },
    /** A definition that is not known counts as drawing alike. */
    async drawsAlike(prepared: PreparedExperiment, configHash: string): Promise<boolean> {
      if (configHash === prepared.hash) return true;
      const then = (await historyOf(prepared)).get(configHash);
      if (!then) return true;
      return seedOf(then) === prepared.seed && then.hash.version === prepared.hashVersion;
    },
  };
}
