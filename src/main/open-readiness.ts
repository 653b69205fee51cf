import type { Config } from '../config/config-schema.ts';
import type { RequestEvent } from '../http/ports.ts';
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
    deadlineMs: CHECK_MS,
    onChange: (state) => logger[state.ready || state.reason === 'shutting down' ? 'info' : 'error'](state, 'readiness'),
  });
}
