import { join } from 'node:path';
import type { Config } from '../config.ts';
import { candidates, graphicsFacts } from '../inference/adapters.ts';
import { calibrate } from '../inference/calibrate.ts';
import type { LoadSpec, ProviderSetting } from '../inference/types.ts';
import { inspect } from '../registry/admission.ts';
import { DEFAULT_LIMITS } from '../registry/folder-files.ts';
import { surveyRegistry } from '../registry/survey.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Hosts and threads to start with; 0 leaves them to the rule for the cores. */
interface Wanted {
  readonly hosts: number;
  readonly threads: number;
}

const runsOnCpu = (provider: ProviderSetting) =>
  provider === 'cpu' || (provider === 'auto' && candidates(graphicsFacts())[0] === 'cpu');

/** The graph of the default model that would be served, by its files alone; nothing where none is in order. */
async function defaultGraph({ registry }: Config): Promise<LoadSpec | undefined> {
  const limits = { ...DEFAULT_LIMITS, maxBytes: registry.maxModelBytes };
  const sound = (await surveyRegistry(registry.folder, limits)).filter(({ fault }) => fault === undefined);
  const name = registry.defaultModel ?? sound[0]?.name;
  const versions = sound.filter((row) => row.name === name);
  const chosen = versions.find(({ labels }) => labels.includes('stable')) ?? versions[0];
  if (!chosen) return undefined;
  const { version, graph } = await inspect(chosen, { limits, variant: registry.variant, provider: 'cpu' });
  const key = `${chosen.name}@${chosen.version}`;
  const file = join(version.folder, graph.variant.file);
  // Padding changes no speed, so the id the tokenizer pads with is not looked up.
  return { key, file, padId: 0, maxLength: version.maxLength, reduction: graph.reduction };
}

/**
 * What `inference.hosts` and `inference.threads` say or, with `inference.calibrate` and neither of them set, the layout that scores the
 * default model fastest here. A calibration that fails is logged and leaves the choice to the rule.
 */
export async function chooseLayout(config: Config, logger: Pick<Logger, 'info' | 'warn'>): Promise<Wanted> {
  const { hosts, threads, calibrate: wanted, provider } = config.inference;
  if (!wanted || hosts > 0 || threads > 0 || !runsOnCpu(provider)) return { hosts, threads };
  try {
    const spec = await defaultGraph(config);
    if (!spec) throw new Error('no model to measure with');
    const { best, trials } = await calibrate(spec);
    logger.info({ model: spec.key, best, trials }, 'calibrated');
    return best;
  } catch (error) {
    logger.warn({ err: error }, 'not calibrated');
    return { hosts, threads };
  }
}
