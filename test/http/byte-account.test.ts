import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteAccount } from '../../src/http/byte-account.ts';

const LIMITS = { totalBytes: 1000, smallBytes: 10, smallShareBytes: 200 };

describe('account of bytes in flight', () => {
  it('never holds more than its total, keeps the share of small requests and releases everything', () => {
    const steps = fc.array(fc.record({ request: fc.nat(9), bytes: fc.nat(700), close: fc.boolean() }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, (changes) => {
        const account = new ByteAccount(LIMITS);
        const holds = Array.from({ length: 10 }, () => ({ hold: account.open(), bytes: 0, open: true }));
        for (const { request, bytes, close } of changes) {
          const one = holds[request]!;
          if (close) {
            one.hold.close();
            one.bytes = 0;
            one.open = false;
          } else {
            try {
              one.hold.resize(bytes);
              if (one.open) one.bytes = bytes;
            } catch (error) {
              expect(error).toMatchObject({ code: 'too_many_bytes', status: 429 });
            }
          }
          expect(account.held).toBe(holds.reduce((sum, h) => sum + h.bytes, 0));
          expect(account.held).toBeLessThanOrEqual(1000);
          expect(holds.reduce((sum, h) => sum + (h.bytes > 10 ? h.bytes : 0), 0)).toBeLessThanOrEqual(800);
        }
        for (const { hold } of holds) hold.close();
        expect(account.held).toBe(0);
      }),
    );
  });

  it('accepts small requests when large ones have used up their share', () => {
    const account = new ByteAccount(LIMITS);
    account.open().resize(800);
    expect(() => account.open().resize(11)).toThrow('expected room');
    const small = Array.from({ length: 20 }, () => account.open());
    for (const hold of small) hold.resize(10);
    expect(() => account.open().add(1)).toThrow('retry after 1 s');
  });

  it('never refuses to shrink', () => {
    const account = new ByteAccount(LIMITS);
    const hold = account.open();
    hold.resize(800);
    account.open().resize(10);
    hold.resize(799);
    expect(account.held).toBe(809);
  });
});
