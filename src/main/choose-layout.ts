import type { Config } from '../config/config-schema.ts';
import { candidates, graphicsFacts } from '../inference/adapters.ts';
import type { ProviderSetting } from '../inference/inference-types.ts';
import type { Logger } from '../telemetry/logger.ts';

/** Hosts and threads to start with; 0 leaves the number to the rule for the cores. */
interface LayoutSetting {
  readonly hosts: number;
  readonly threads: number;
}

/** Whether a setting ends at the processor on this machine. */
export const runsOnCpu = (provider: ProviderSetting) =>
  provider === 'cpu' || (provider === 'auto' && candidates(graphicsFacts())[0] === 'cpu');

/**
 * Returns `inference.hosts` and `inference.threads` or, with `inference.calibrate` and neither of them set, the layout that scores the
 * default model fastest on this machine. A calibration that fails is logged and leaves the choice to the rule.
 */
export async function chooseLayout(config: Config, logger: Pick<Logger, 'info' | 'warn'>): Promise<LayoutSetting> {
  const { hosts, threads, calibrate: isWanted, provider } = config.inference;
  if (!isWanted || hosts > 0 || threads > 0 || !runsOnCpu(provider)) return { hosts, threads };
  try {
    // Loaded only where it is used: the start waits for the layout.
    const [{ calibrate }, { defaultGraph }] = await Promise.all([
      import('../inference/calibrate.ts'),
      import('./default-graph.ts'),
    ]);
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
