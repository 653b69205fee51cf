import { type Clock, monotonicClock } from '../util/clock.ts';
import { candidates, graphicsFacts } from './adapters.ts';
import { type BackOff, DEFAULT_BACK_OFF } from './backoff.ts';
import { cpuBudget } from './cgroup.ts';
import { chooseLayout } from './host-layout.ts';
import type { HostPool, Provider, ProviderSetting } from './inference-types.ts';
import type { PoolFacts, PoolObserver } from './pool-observer.ts';
import { Supervisor } from './supervisor.ts';

export interface PoolOptions {
  readonly provider?: ProviderSetting;
  /** Host processes; 0 (the default) derives them from the cores. */
  readonly hosts?: number;
  /** Threads of each process; 0 (the default) divides the cores. */
  readonly threads?: number;
  /** GPU indexes, at least one; the hosts are dealt out to them in turn. Default: 0. */
  readonly devices?: readonly number[];
  /** Resident memory in bytes above which a host is replaced; 0: never. Default: 4 GiB. */
  readonly maxRssBytes?: number;
  /** Whether a host that is replaced ends before its successor starts; default false. */
  readonly replacesInPlace?: boolean;
  readonly recycleEveryMs?: number;
  readonly batchTimeoutMs?: number;
  readonly loadTimeoutMs?: number;
  readonly startTimeoutMs?: number;
  /** Milliseconds without any host after which batches are rejected until there is one. */
  readonly outageGraceMs?: number;
  readonly graceMs?: number;
  readonly backOff?: BackOff;
  readonly clock?: Clock;
  /** Path of the hosts' program, for measurements without an engine. Default: the one with ONNX Runtime. */
  readonly program?: string | undefined;
  /** Variables added to the environment of the hosts. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A pool of host processes, with facts for metrics. */
export interface SupervisedPool extends HostPool {
  readonly threads: number;
  facts(): PoolFacts;
}

const DEFAULTS = {
  devices: [0],
  maxRssBytes: 4 * 2 ** 30,
  replacesInPlace: false,
  recycleEveryMs: 10_000,
  batchTimeoutMs: 30_000,
  loadTimeoutMs: 120_000,
  startTimeoutMs: 60_000,
  outageGraceMs: 8000,
  graceMs: 10_000,
  backOff: DEFAULT_BACK_OFF,
  clock: monotonicClock,
  env: {},
};

/**
 * Starts inference hosts. Resolves when all of them have opened their device.
 * @throws WinnowError `provider_unavailable` with the remedy; `host_lost` when a host does not start.
 */
export async function createHostPool(
  options: PoolOptions = {},
  observe: PoolObserver = () => {},
): Promise<SupervisedPool> {
  const { provider: setting = 'auto', hosts, threads, ...rest } = options;
  const common = { ...DEFAULTS, ...rest };
  const start = async (provider: ProviderSetting, on: Provider) => {
    const layout = chooseLayout(on, hosts, threads, cpuBudget(), common.devices.length);
    const pool = new Supervisor({ ...common, provider, ...layout }, observe);
    await pool.start();
    return pool;
  };
  if (setting !== 'auto') return start(setting, setting);
  const [first = 'cpu'] = candidates(graphicsFacts());
  const pool = await start(first === 'cpu' ? 'cpu' : 'auto', first);
  if (pool.provider === first) return pool;
  // A device exists but did not open, so the layout must fit the provider that was found instead.
  await pool.close();
  return start(pool.provider, pool.provider);
}
