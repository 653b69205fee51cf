import type { Config } from '../config/config-schema.ts';
import type { RequestEvent } from '../http/ports.ts';
import type { PoolFacts } from '../inference/pool-observer.ts';
import type { Logger } from '../telemetry/logger.ts';
import { ReadinessWatch } from './readiness.ts';
import type { Stack } from './stack.ts';
import { checkInference, warmUp } from './warm-up.ts';

const CHECK_MS = 5000;

/** Returns whether a finished request shows that the default model computes. */
export function isInference({ status, model, timings }: RequestEvent, defaultModel: string | undefined): boolean {
  const [name] = defaultModel?.split(/[@:]/, 1) ?? [];
  return status === 200 && model !== undefined && model === name && (timings?.inferMs ?? 0) > 0;
}

/** Returns whether the process can recover without a restart. @param limitMs How long hosts may be absent; 0: for ever. */
export function livenessOf(
  pool: { facts(): Pick<PoolFacts, 'outage'> },
  limitMs: number,
): { readonly live: boolean; readonly reason?: string } {
  const { outage } = pool.facts();
  if (limitMs === 0 || outage === undefined || outage.ageMs < limitMs) return { live: true };
  const seconds = Math.floor(outage.ageMs / 1000);
  return { live: false, reason: `no inference host has started for ${seconds} s: ${outage.reason}` };
}

/** Watches whether a stack can answer: the first check warms it up, later ones score a pair when no request has lately. */
export function openReadiness(config: Config, stack: Stack, logger: Logger): ReadinessWatch {
  let warm = false;
  return new ReadinessWatch({
    async check(signal) {
      if (warm) return checkInference(stack, CHECK_MS, signal);
      await warmUp(config, stack);
      warm = true;
    },
    checkFiles: () => (warm ? stack.registry.checkFiles() : Promise.resolve()),
    hasGrace() {
      const { outage } = stack.pool.facts();
      return outage !== undefined && !outage.isOverGrace;
    },
    graceMs: config.inference.outageGraceMs,
    deadlineMs: CHECK_MS,
    onChange: (state) => logger[state.ready || state.reason === 'shutting down' ? 'info' : 'error'](state, 'readiness'),
  });
}
