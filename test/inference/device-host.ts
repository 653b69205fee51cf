import { existsSync, writeFileSync } from 'node:fs';
import { WinnowError } from '../../src/errors.ts';
import { hostSettings, serveHost } from '../../src/inference/host-loop.ts';

/*
 * The program of a host with paper devices: the real process, pipe and frames, and devices that fail as the test says. `WINNOW_TEST_ABSENT`
 * lists devices that do not open. A row of one token 666 breaks the device of its host for good; the file `WINNOW_TEST_BROKEN` then
 * exists, and the device does not open again. A score is the sum of the ids.
 */

const settings = hostSettings();
const { provider, device } = settings;
const broken = `${process.env.WINNOW_TEST_BROKEN}.${device}`;
const absent = (process.env.WINNOW_TEST_ABSENT ?? '').split(',').filter(Boolean).map(Number);

await serveHost(settings, async () => {
  const works = !absent.includes(device) && !existsSync(broken);
  if (!works && provider !== 'auto')
    throw new WinnowError('provider_unavailable', {
      provider,
      available: `cpu (device ${device})`,
      cure: 'plug it in',
    });
  return {
    provider: works && provider === 'auto' ? 'cuda' : provider === 'auto' ? 'cpu' : provider,
    engine: {
      load: async () => ({ inputs: ['input_ids'], outputs: ['logits'], loadMs: 0, bytes: 1 }),
      unload: async () => {},
      async run(_, rows) {
        if (rows.some(({ ids }) => ids.length === 1 && ids[0] === 666)) {
          if (device === 1) {
            writeFileSync(broken, '');
            throw new Error('CUDA failure 700: an illegal memory access was encountered');
          }
        }
        return { scores: Float32Array.from(rows, ({ ids }) => ids.reduce((sum, id) => sum + id, 0)), inferMs: 1 };
      },
    },
  };
});
