import type { Clock } from '../util/clock.ts';
import type { ArmDecider } from './assignment/deciders.ts';
import type { ExperimentObserver } from './ports.ts';

/** The database where none is configured. */
export const DEFAULT_DATABASE = 'runs/experiments.sqlite';

export interface ExperimentsOptions {
  /** Path of experiments.yaml; its changes take effect. */
  readonly file?: string | undefined;
  /** SQLite file or `postgres://` URL; DEFAULT_DATABASE if absent. Created when it is first needed. */
  readonly database?: string | undefined;
  /** Key of unit hashes; if absent a random one that the database keeps. */
  readonly unitSecret?: string | undefined;
  /** How long a PostgreSQL server may take to accept a connection or answer a statement; 5000 if absent. */
  readonly databaseTimeoutMs?: number;
  readonly retentionDays?: number;
  readonly bufferRows?: number;
  /** Returns the model that answers requests which name none. */
  readonly defaultModel?: () => string | undefined;
  /** Ids that count as none; those of util/placeholder-ids.ts if absent. */
  readonly placeholderIds?: readonly string[] | undefined;
  /** Assigns units to the arms of split experiments; Winnow's hash if absent. */
  readonly decider?: ArmDecider;
  readonly observer?: ExperimentObserver;
  readonly clock?: Clock;
  /** Returns milliseconds since some moment; it never jumps. The system's if absent. */
  readonly monotonic?: () => number;
  /** Interval of the checks whether experiments.yaml has changed, in milliseconds. */
  readonly pollMs?: number;
  /** Interval of the reads of what other servers changed in the database, in milliseconds. */
  readonly syncMs?: number;
}
