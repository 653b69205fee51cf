import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { candidates, evictions } from '../../src/registry/routing.ts';
import { preferredVariants, variantsOf } from '../../src/registry/version-variants.ts';

const good = (version: string) => ({ version, refused: false, stopped: false });

describe('candidates', () => {
  const versions = [good('1'), good('2'), { ...good('3'), refused: true }, { ...good('4'), stopped: true }];

  it('without labels: what is neither refused nor stopped, newest first', () => {
    expect(candidates(versions, new Map(), undefined)).toEqual(['2', '1']);
  });

  it('with stable: that one alone, refused or not', () => {
    expect(candidates(versions, new Map([['stable', '1']]), undefined)).toEqual(['1']);
    expect(candidates(versions, new Map([['stable', '3']]), undefined)).toEqual(['3']);
    expect(candidates(versions, new Map([['stable', '9']]), undefined)).toEqual([]);
  });

  it('with a label: where it points, nothing if nowhere', () => {
    expect(candidates(versions, new Map([['canary', '2']]), 'canary')).toEqual(['2']);
    expect(candidates(versions, new Map([['canary', '2']]), 'blue')).toEqual([]);
    expect(candidates(versions, new Map(), 'stable')).toEqual([]);
  });
});

describe('evictions', () => {
  const resident = fc.record({
    bytes: fc.nat(100),
    lastUsed: fc.nat(1000),
    inUse: fc.boolean(),
    pinned: fc.boolean(),
  });

  it('fits the budget, spares pinned and used, goes by last use, and takes no more than needed', () => {
    fc.assert(
      fc.property(fc.array(resident, { maxLength: 8 }), fc.nat(100), fc.nat(400), (residents, needed, budget) => {
        const sum = (items: typeof residents) => items.reduce((total, r) => total + r.bytes, 0);
        const fixed = sum(residents.filter((r) => r.inUse || r.pinned));
        const leaving = evictions(residents, needed, budget);
        if (!leaving) {
          expect(fixed + needed).toBeGreaterThan(budget);
          return;
        }
        expect(leaving.some((r) => r.inUse || r.pinned)).toBe(false);
        const left = residents.filter((r) => !leaving.includes(r));
        expect(sum(left) + needed).toBeLessThanOrEqual(budget);
        const last = leaving.at(-1);
        if (!last) return;
        expect(sum(left) + last.bytes + needed).toBeGreaterThan(budget);
        for (const r of left) if (!r.inUse && !r.pinned) expect(r.lastUsed).toBeGreaterThanOrEqual(last.lastUsed);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('variants', () => {
  it('are read from file names, onnx/ first', () => {
    const files = [
      'model.onnx',
      'onnx/model.onnx',
      'onnx/model_fp16.onnx',
      'onnx/model_quantized.onnx',
      'x/model.onnx',
    ];
    expect(variantsOf(files)).toEqual([
      { name: 'fp32', file: 'onnx/model.onnx' },
      { name: 'fp16', file: 'onnx/model_fp16.onnx' },
      { name: 'int8', file: 'onnx/model_quantized.onnx' },
    ]);
    expect(variantsOf(['model_qint8_avx512_vnni.onnx', 'decoder.onnx', 'model_q4.onnx'])).toEqual([
      { name: 'int8', file: 'model_qint8_avx512_vnni.onnx' },
    ]);
  });

  it('are chosen by provider, or strictly as asked', () => {
    const all = variantsOf(['model.onnx', 'model_fp16.onnx', 'model_int8.onnx']);
    const names = (...args: Parameters<typeof preferredVariants>) => preferredVariants(...args).map((v) => v.name);
    expect(names(all, 'auto', 'cpu')).toEqual(['int8', 'fp32', 'fp16']);
    expect(names(all, 'auto', 'cuda')).toEqual(['fp16', 'fp32', 'int8']);
    expect(names(all, 'fp32', 'webgpu')).toEqual(['fp32']);
    expect(names(variantsOf(['model.onnx']), 'int8', 'cpu')).toEqual([]);
  });
});
