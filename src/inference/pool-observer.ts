import type { Provider } from './inference-types.ts';
import type { OutageFacts } from './outage.ts';

/** `crashed`: the process ended by itself; `killed`: a call exceeded its time limit; `faulty`: the device failed permanently. */
export type LossCause = 'crashed' | 'killed' | 'faulty';

/** Events of hosts and batches, for log and metrics. */
export type PoolEvent =
  | {
      readonly kind: 'ready';
      readonly host: number;
      readonly pid: number;
      readonly provider: Provider;
      readonly device: number;
    }
  /** A host ended unexpectedly, or did not start. */
  | { readonly kind: 'lost'; readonly host: number; readonly cause: LossCause; readonly reason: string }
  /** A lost host is about to be replaced, `delayMs` from now. */
  | { readonly kind: 'restart'; readonly host: number; readonly delayMs: number }
  /** No host has been in service for longer than the grace, or none can be started: batches are rejected until one is. */
  | { readonly kind: 'outage'; readonly reason: string }
  /** A host above the memory limit has been replaced. */
  | { readonly kind: 'recycle'; readonly host: number; readonly rss: number }
  /** A batch whose host was lost is run on another. */
  | { readonly kind: 'retry'; readonly host: number; readonly model: string; readonly reason: string }
  /** A failed batch was cut in half. */
  | { readonly kind: 'split'; readonly model: string }
  /** A host could not load a model that others hold, for example because its file was removed; it serves the other models. */
  | { readonly kind: 'model_missing'; readonly host: number; readonly model: string; readonly reason: string }
  /** A line that a host wrote to standard error. */
  | { readonly kind: 'output'; readonly host: number; readonly line: string };

/** Receives every event as it happens. Must not throw. */
export type PoolObserver = (event: PoolEvent) => void;

/** The place of one host. A lost host is replaced on the same device. */
interface HostFacts {
  /** GPU index; without effect where the provider cannot choose between devices. */
  readonly device: number;
  readonly alive: boolean;
  /** Resident memory as last reported, in bytes; 0 where no host runs. */
  readonly rss: number;
  /** Processor time of all hosts that were in this place, as last reported, in milliseconds. */
  readonly cpuMs: number;
}

export interface PoolFacts {
  readonly provider: Provider;
  readonly hosts: number;
  /** GPU indexes; empty where the provider cannot choose between devices. */
  readonly devices: readonly number[];
  readonly threads: number;
  /** Hosts that take batches now. */
  readonly alive: number;
  readonly restarts: number;
  readonly recycles: number;
  readonly kills: number;
  readonly retries: number;
  readonly splits: number;
  /** Batches that run or wait in a host's pipe. */
  readonly inFlight: number;
  /** Batches that wait for a host. */
  readonly waiting: number;
  readonly slots: readonly HostFacts[];
  /** The time in which no host takes batches, if it is one. */
  readonly outage: OutageFacts | undefined;
}
