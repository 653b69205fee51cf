import { hostSettings, serveHost } from '../../src/inference/host-loop.ts';
import { nullScore } from './null-score.ts';

/*
 * An inference host without an engine: the real pipe and frames, and a logit that is a hash of the row's token ids. It takes the provider
 * that it is given, so that the layouts of GPUs can be measured where there is none.
 */

const settings = hostSettings();
await serveHost(settings, async () => ({
  provider: settings.provider === 'auto' ? 'cpu' : settings.provider,
  engine: {
    load: async () => ({ inputs: ['input_ids'], outputs: ['logits'], loadMs: 0, bytes: 1 }),
    unload: async () => {},
    async run(_, rows) {
      const start = performance.now();
      const scores = Float32Array.from(rows, ({ ids }) => nullScore(ids));
      return { scores, inferMs: performance.now() - start };
    },
  },
}));
