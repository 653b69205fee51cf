import type { Config } from '../config/config-schema.ts';
import { cpuBudget, memoryBudget } from '../inference/cgroup.ts';
import { chooseLayout as layoutByRule } from '../inference/host-layout.ts';
import { defaultPassageBytes, hostsThatFit, memoryLimits } from '../inference/memory-plan.ts';
import type { Logger } from '../telemetry/logger.ts';
import { chooseLayout, runsOnCpu } from './choose-layout.ts';
import { preloadedModels } from './preloaded.ts';
import { defaultWeightBytes, mostWeightBytes } from './weight-bytes.ts';

/** What a server starts its hosts with; hosts and threads of 0 are left to the rule for the cores. */
export interface HostPlan {
  readonly hosts: number;
  readonly threads: number;
  readonly maxRssBytes: number;
  readonly replacesInPlace: boolean;
  /** Room for weights on all hosts together, in bytes; 0: no limit. */
  readonly modelBytes: number;
  /** The most memory of the passage cache, in the front process; 0: there is none. */
  readonly passageBytes: number;
}

/** A limit of loaded models has room for so many versions, or there is none: a new version is loaded beside the one that serves. */
const VERSIONS_AT_LEAST = 3;

interface Machine {
  readonly cores: number;
  readonly memoryBytes: number;
}

/** Returns what each host loads of weights, in bytes: files are only opened where the largest version would not fit as often as there are cores. */
async function weightBytes(config: Config, hosts: number, memoryBytes: number, batchTokens: number): Promise<number> {
  const models = 1 + preloadedModels(config).length;
  const most = models * mostWeightBytes(config.registry.folder);
  if (memoryLimits(hosts, memoryBytes, most, batchTokens).hasSpare) return most;
  const exact = await defaultWeightBytes(config);
  return exact === 0 ? 0 : models * exact;
}

/**
 * Plans hosts for cores and memory of the process group: on the CPU no more of them than weights fit, and limits that act before the kernel's.
 * Settings are kept; where they exceed the memory, the log warns. What was chosen and why is logged.
 */
export async function planHosts(
  config: Config,
  logger: Pick<Logger, 'info' | 'warn'>,
  machine: Machine = { cores: cpuBudget(), memoryBytes: memoryBudget() },
): Promise<HostPlan> {
  const { cores } = machine;
  const { passageBytes: kept } = config.cache;
  const memoryBytes = Math.max(0, machine.memoryBytes - (kept ?? 0));
  const chosen = await chooseLayout(config, logger);
  const onCpu = runsOnCpu(config.inference.provider);
  const devices = [config.inference.device].flat().length;
  const byCores = layoutByRule(onCpu ? 'cpu' : 'cuda', chosen.hosts, chosen.threads, cores, devices).hosts;
  // On a GPU the batches are in the memory of the card.
  const batchTokens = onCpu ? config.scheduling.batchTokens : 0;
  const weights = await weightBytes(config, byCores, memoryBytes, batchTokens);
  const isFree = onCpu && chosen.hosts === 0;
  const hosts = isFree ? hostsThatFit(byCores, memoryBytes, weights, batchTokens) : byCores;
  const passageBytes = kept ?? defaultPassageBytes(hosts, memoryBytes, weights, batchTokens, VERSIONS_AT_LEAST);
  const limits = memoryLimits(hosts, machine.memoryBytes - passageBytes, weights, batchTokens);
  const { maxRssBytes: set } = config.inference;
  const maxRssBytes = set === 0 ? 0 : Math.min(set, Math.max(1, limits.hostBytes));
  const facts = {
    cores,
    memoryBytes: machine.memoryBytes,
    weightBytes: weights,
    batchTokens,
    passageBytes,
    hosts,
    maxRssBytes,
    hostsBy: hosts < byCores ? 'memory' : isFree ? 'cores' : 'settings',
  };
  logger.info({ ...facts, hostsByCores: byCores }, 'hosts planned');
  if (!limits.fits)
    logger.warn(
      facts,
      'the memory does not hold these hosts with the default model and the passage cache: the system may end them; raise the limit',
    );
  else if (set === 0)
    logger.warn(facts, 'inference.maxRssBytes is 0: the system ends processes where the memory runs out');
  return {
    // The rule for the cores knows the provider that is found.
    hosts: hosts < byCores ? hosts : chosen.hosts,
    threads: chosen.threads,
    maxRssBytes,
    replacesInPlace: !limits.hasSpare,
    modelBytes: limits.modelBytes >= VERSIONS_AT_LEAST * hosts * weights ? limits.modelBytes : 0,
    passageBytes,
  };
}
