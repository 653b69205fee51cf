import type { Clock } from '../util/clock.ts';
import type { BackOff } from './backoff.ts';
import type { HostClient } from './host-client.ts';
import type { HostSettings } from './host-protocol.ts';
import type { OutageFacts } from './outage.ts';
import type { PoolObserver } from './pool-observer.ts';

export interface FleetOptions extends Omit<HostSettings, 'device'> {
  /** GPU indexes. A slot keeps its device when its host is replaced. */
  readonly devices: readonly number[];
  readonly hosts: number;
  /** Path of the hosts' program; the one with ONNX Runtime if absent. */
  readonly program?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly backOff: BackOff;
  readonly startTimeoutMs: number;
  /** Milliseconds without any host after which what waits is rejected. */
  readonly outageGraceMs: number;
  /** Milliseconds in which a host that is ended may finish its batches. */
  readonly graceMs: number;
  /** Resident memory in bytes above which a host is replaced; 0: never. */
  readonly maxRssBytes: number;
  /** Whether a host that is replaced ends before its successor starts: the memory does not hold both. */
  readonly replacesInPlace: boolean;
  /** Least milliseconds between two replacements of a host for memory. */
  readonly recycleEveryMs: number;
}

export interface FleetHooks {
  /** Loads the models on a new host before it comes into service. */
  readonly prepare: (host: HostClient) => Promise<void>;
  /** Called when a host has come into service. */
  readonly ready: () => void;
  /** Called when no host is in service and every slot has failed to start one `MAX_FAILED_STARTS` times. */
  readonly startsFailed: (reason: string) => void;
  /** Called when no host has been in service for longer than the grace, or starting one is hopeless for now. */
  readonly outage: (facts: OutageFacts) => void;
  readonly observe: PoolObserver;
}
