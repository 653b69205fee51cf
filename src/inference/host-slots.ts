import type { HostClient } from './host-client.ts';
import { deviceOf } from './host-layout.ts';

/** A place for one host; lost processes are replaced in it. */
export interface Slot {
  readonly index: number;
  readonly device: number;
  host: HostClient | undefined;
  failures: number;
  readyAt: number;
  /** Memory of the host after its models were loaded. A limit below it could never be kept. */
  readyRss: number;
  rss: number;
  /** Processor time of all hosts that were in this place, in milliseconds. */
  cpuMs: number;
  recycling: boolean;
}

/** Makes the places of a number of hosts, which are dealt out to the devices in turn. */
export const emptySlots = ({
  hosts,
  devices,
}: {
  readonly hosts: number;
  readonly devices: readonly number[];
}): Slot[] =>
  Array.from({ length: hosts }, (_, index) => ({
    index,
    device: deviceOf(devices, index) ?? 0,
    host: undefined,
    failures: 0,
    readyAt: 0,
    readyRss: 0,
    rss: 0,
    cpuMs: 0,
    recycling: false,
  }));
