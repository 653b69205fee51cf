import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Target, targetsOf } from '../../src/registry/processor.ts';
import { candidates, evictions } from '../../src/registry/routing.ts';
import {
  isForeign,
  preferredVariants,
  recordName,
  unservedFiles,
  variantsOf,
} from '../../src/registry/version-variants.ts';

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

  it('have the names that optimum and sentence-transformers write, the graph as exported first', () => {
    const fileOf = (...names: readonly string[]) =>
      variantsOf(names.map((name) => `onnx/${name}.onnx`)).map(({ name, file }) => [name, file.slice(5, -5)]);
    expect(fileOf('model_O3', 'model_O4', 'model_O2', 'model_O1')).toEqual([
      ['fp32', 'model_O1'],
      ['fp16', 'model_O4'],
    ]);
    expect(fileOf('model_optimized', 'model_O3', 'model_fp32')).toEqual([['fp32', 'model_fp32']]);
    expect(fileOf('model', 'model_O1', 'model_O4', 'model_fp16')).toEqual([
      ['fp32', 'model'],
      ['fp16', 'model_fp16'],
    ]);
    for (const name of ['model_uint8', 'model_qint8_quantized', 'model_optimized_quantized', 'model_O3_quint8_avx2'])
      expect(fileOf(name)).toEqual([['int8', name]]);
  });

  it('of int8 are those for this processor', () => {
    const made = ['qint8_arm64', 'qint8_avx512', 'qint8_avx512_vnni', 'quint8_avx2'];
    const files = made.map((name) => `onnx/model_${name}.onnx`);
    const chosen = (targets: readonly Target[], more: readonly string[] = []) =>
      variantsOf([...files, ...more], targets)[0]!.file;
    expect(chosen(['arm64'])).toBe('onnx/model_qint8_arm64.onnx');
    expect(chosen(['avx2'])).toBe('onnx/model_quint8_avx2.onnx');
    expect(chosen(['avx512', 'avx2'])).toBe('onnx/model_qint8_avx512.onnx');
    expect(chosen(['avx512_vnni', 'avx512', 'avx2'])).toBe('onnx/model_qint8_avx512_vnni.onnx');
    expect(chosen(['arm64'], ['onnx/model_int8.onnx'])).toBe('onnx/model_int8.onnx');
    expect(files.map((file) => isForeign(file, ['avx512', 'avx2']))).toEqual([true, false, true, false]);
    expect(isForeign('onnx/model_int8.onnx', [])).toBe(false);
    // A self-test holds the scores of each.
    expect(recordName({ name: 'int8', file: files[0]! })).toBe('int8_arm64');
    expect(recordName({ name: 'int8', file: 'onnx/model_quantized.onnx' })).toBe('int8');
  });

  it('of a processor follow from its architecture and flags', () => {
    const of = (architecture: string, ...flags: readonly string[]) => targetsOf(architecture, new Set(flags));
    expect(of('x64')).toEqual(['avx2']);
    expect(of('x64', 'avx2', 'avx512f')).toEqual(['avx512', 'avx2']);
    expect(of('x64', 'avx2', 'avx_vnni')).toEqual(['avx512_vnni', 'avx512', 'avx2']);
    expect(of('x64', 'avx512f', 'avx512_vnni')).toEqual(['avx512_vnni', 'avx512', 'avx2']);
    expect(of('arm64')).toEqual(['arm64']);
    expect(of('riscv64')).toEqual([]);
  });

  it('leave ONNX files of other formats and names aside, by name', () => {
    const files = ['onnx/model_q4.onnx', 'onnx/model_q4f16.onnx', 'model_bnb4.onnx', 'onnx/decoder_model.onnx'];
    expect(variantsOf(files)).toEqual([]);
    expect(unservedFiles([...files, 'onnx/model.onnx', 'model_O2.onnx', 'x/model_q4.onnx', 'config.json'])).toEqual(
      files,
    );
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
