import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestsInTurns } from '../../src/util/digests.ts';

const whole = (text: string) => createHash('sha256').update(Buffer.from(text, 'utf8')).digest('hex');

describe('digests in turns of the event loop', () => {
  it('are the SHA-256 of prefix and text', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'grapheme' }),
        fc.array(fc.string({ unit: 'binary' })),
        async (prefix, texts) => {
          const digests = await digestsInTurns(texts, { encoding: 'hex', prefix });
          expect(digests).toEqual(texts.map((text) => whole(prefix + text)));
        },
      ),
    );
  });

  it('do not depend on where a long text is cut', async () => {
    const texts = [0, 1].map((shift) => `${'x'.repeat(shift)}${'😀'.repeat(2 ** 20)}`);
    expect(await digestsInTurns(texts, { encoding: 'hex' })).toEqual(texts.map(whole));
  });
});
