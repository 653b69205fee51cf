import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { fromSafetensors } from '../../src/onnx/architectures/architectures.ts';
import { holdWeights } from '../../src/onnx/graph.ts';
import { numbers } from '../../src/onnx/tensor.ts';
import { openTorchFile } from '../../src/onnx/torch-file.ts';
import { MODERNBERT, modernbertWeights, writeCheckpoint } from '../support/tiny-checkpoint.ts';
import {
  archive,
  integer,
  legacyFile,
  pickle,
  statePickle,
  type TensorPickle,
  tensorPickle,
  text,
  torchFile,
} from '../support/torch-writer.ts';

let root = '';
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'torch-file-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function read(bytes: Uint8Array) {
  const path = join(root, `${++count}.bin`);
  await writeFile(path, bytes);
  return openTorchFile(path);
}

const SIX = [1, 2, 3, 4, 5, 6];
const PLAIN = { length: 6, dims: [2, 3], strides: [3, 1] };
const one = (tensor: TensorPickle) => statePickle({ a: tensorPickle(tensor) });

describe('files of torch.save', () => {
  it('gives tensors: whole, from the middle of a storage, transposed, of rank 0 and empty', async () => {
    const whole = tensorPickle(PLAIN);
    const data = statePickle({
      whole,
      middle: tensorPickle({ length: 6, offset: 2, dims: [3], strides: [1] }),
      transposed: tensorPickle({ length: 6, dims: [3, 2], strides: [1, 3] }),
      scalar: tensorPickle({ length: 6, offset: 5, dims: [], strides: [] }),
      empty: tensorPickle({ length: 6, dims: [0, 4], strides: [4, 1] }),
      parameter: pickle('ctorch._utils\n_rebuild_parameter\n(', whole, '\x88', 'NtR').subarray(2),
    });
    const tensors = await read(torchFile(data, SIX));
    const found = [...tensors].map(([name, t]) => [name, t.dims, numbers(t)]);
    expect(found).toEqual([
      ['whole', [2, 3], SIX],
      ['middle', [3], [3, 4, 5]],
      ['transposed', [3, 2], [1, 4, 2, 5, 3, 6]],
      ['scalar', [], [6]],
      ['empty', [0, 4], []],
      ['parameter', [2, 3], SIX],
    ]);
  });

  it('reads half precision as it is', async () => {
    const half = tensorPickle({ storage: 'HalfStorage', length: 2, dims: [2], strides: [1] });
    const bytes = new Uint8Array(Uint16Array.of(0x3c00, 0xc000).buffer);
    const file = archive([
      { name: 'm/data.pkl', bytes: statePickle({ half }) },
      { name: 'm/data/0', bytes },
    ]);
    const tensors = await read(file);
    expect([tensors.get('half')!.dtype, numbers(tensors.get('half')!)]).toEqual(['float16', [1, -2]]);
  });

  it('leaves _metadata of the dictionary out', async () => {
    const data = pickle(
      'ccollections\nOrderedDict\n)R(',
      text('a'),
      tensorPickle(PLAIN),
      'u}',
      text('_metadata'),
      '}sb.',
    );
    expect([...(await read(torchFile(data, SIX))).keys()]).toEqual(['a']);
  });

  it.each<[string, Buffer, RegExp]>([
    ['os.system', pickle('cposix\nsystem\n', text('touch HARM'), '\x85R.'), /names posix\.system; it was not run/],
    ['builtins.eval', pickle('c__builtin__\neval\n', text('1'), '\x85R.'), /names __builtin__\.eval; it was not run/],
    ['a name not called', pickle('csubprocess\nPopen\n.'), /names subprocess\.Popen/],
    ['a class of torch unknown', pickle('ctorch.storage\n_load_from_bytes\n.'), /torch\.storage\._load_from_bytes/],
    ['a name with a dot too many', pickle('ctorch._utils\n_rebuild_tensor_v2.__globals__\n.'), /__globals__/],
    ['a name made of the stack', pickle(text('os'), text('system'), '\x93.'), /opcode of tensors, got 0x93/],
    ['an instance', pickle('(cos\nsystem\no.'), /names os\.system/],
    ['an instance by name', pickle('(ios\nsystem\n.'), /opcode of tensors, got 0x69/],
    ['a new object', pickle('ccollections\nOrderedDict\n)\x81.'), /opcode of tensors, got 0x81/],
    ['an extension', pickle('\x82\x01.'), /opcode of tensors, got 0x82/],
    ['a call of a class of storages', pickle('ctorch\nFloatStorage\n)R.'), /a call of torch\.FloatStorage/],
    ['a call of a text', pickle(text('x'), ')R.'), /a call by name/],
    ['another protocol', Buffer.from([0x80, 5, 0x4e, 0x2e]), /pickle protocol 2, .*protocol 5/],
    ['no end', pickle('N'), /a whole pickle, got one that ends/],
    ['a text beyond its end', pickle(Buffer.from([0x58, 0xff, 0xff, 0xff, 0x7f])), /a whole pickle/],
    ['nothing on the stack', pickle('.'), /a value on the stack/],
    ['no mark', pickle('t.'), /a mark on the stack/],
    ['nothing remembered', pickle('h\x07.'), /remembered before, got number 7/],
    ['a list', pickle('].'), /a dictionary of tensors, got another object/],
    ['numbers', statePickle({ epoch: integer(7) }), /a dictionary of tensors, got epoch of another kind/],
    ['a state of other objects', pickle('}}', text('hook'), 'Nsb.'), /no state of objects but _metadata/],
    ['an integer of 255 bytes', pickle(Buffer.from([0x8a, 255])), /integers of 8 bytes at most/],
  ])('refuses a pickle with %s', async (_, data, message) => {
    const reading = read(torchFile(data, SIX));
    await expect(reading).rejects.toThrow(message);
    await expect(reading).rejects.toMatchObject({ code: 'invalid_graph' });
    expect(existsSync('HARM')).toBe(false);
  });

  it.each<[string, TensorPickle, RegExp]>([
    ['a storage longer than its file', { ...PLAIN, length: 7 }, /tensor a: expected a storage of 28 bytes, got 24/],
    ['a storage shorter than its file', { ...PLAIN, length: 5, dims: [5], strides: [1] }, /of 20 bytes, got 24/],
    ['another type', { ...PLAIN, storage: 'DoubleStorage' }, /of 48 bytes, got 24/],
    ['an unknown type', { ...PLAIN, storage: 'QInt8Storage' }, /names torch\.QInt8Storage/],
    ['a storage that is not there', { ...PLAIN, key: '../0' }, /no file data\/\.\.\/0/],
    ['rows beyond the storage', { ...PLAIN, dims: [3, 3] }, /within its storage of 6/],
    ['an offset beyond it', { ...PLAIN, offset: 1 }, /within its storage of 6/],
    ['a negative offset', { ...PLAIN, offset: -1 }, /an offset, sizes and strides/],
    ['a negative size', { ...PLAIN, dims: [-2, 3] }, /an offset, sizes and strides/],
    ['a negative stride', { ...PLAIN, strides: [-3, 1] }, /an offset, sizes and strides/],
    ['fewer strides than sizes', { ...PLAIN, strides: [3] }, /an offset, sizes and strides/],
    ['strides of 0', { ...PLAIN, dims: [1_000_000, 1_000_000], strides: [0, 0] }, /no larger than its storage/],
  ])('refuses a tensor with %s', async (_, tensor, message) => {
    await expect(read(torchFile(one(tensor), SIX))).rejects.toThrow(message);
  });

  const data = one(PLAIN);
  const storage = new Uint8Array(24);
  it.each<[string, Buffer, RegExp]>([
    ['nothing', Buffer.alloc(0), /a zip archive or older file of torch\.save/],
    ['a pickle alone', pickle('N.'), /a zip archive or older file of torch\.save, got a file that is neither/],
    ['a compressed storage', archive([{ name: 'm/data.pkl', bytes: data, method: 8 }]), /stored, not compressed/],
    ['no pickle', archive([{ name: 'm/other', bytes: data }]), /one data\.pkl .*got 0/],
    [
      'two pickles',
      archive(['m', 'n'].map((at) => ({ name: `${at}/data.pkl`, bytes: data }))),
      /one data\.pkl .*got 2/,
    ],
    ['one name twice', archive([1, 2].map(() => ({ name: 'm/data.pkl', bytes: data }))), /each file once/],
    ['a size that lies', archive([{ name: 'm/data.pkl', bytes: data, size: 4e9 }]), /a file within the archive/],
    ['a place beyond the file', archive([{ name: 'm/data.pkl', bytes: data, at: 4e9 }]), /a file within the archive/],
    [
      'a place between files',
      archive([{ name: 'm/data.pkl', bytes: data, at: 3, size: 40 }]),
      /where the directory says/,
    ],
    [
      'big-endian numbers',
      archive([
        { name: 'm/data.pkl', bytes: data },
        { name: 'm/byteorder', bytes: Buffer.from('big') },
        { name: 'm/data/0', bytes: storage },
      ]),
      /little-endian numbers, got big/,
    ],
    ['a cut end', torchFile(data, SIX).subarray(0, -30), /a zip archive/],
    ['a cut beginning', torchFile(data, SIX).subarray(30), /a zip directory/],
  ])('refuses an archive with %s', async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toThrow(message);
  });

  it('refuses storages that lie on one another: a small file that becomes a large model', async () => {
    const bytes = new Uint8Array(4096);
    const length = 1024;
    const keys = Array.from({ length: 50 }, (_, key) => String(key));
    const state = statePickle(
      Object.fromEntries(keys.map((key) => [key, tensorPickle({ key, length, dims: [length], strides: [1] })])),
    );
    const first = 30 + 'm/data.pkl'.length + state.byteLength;
    const file = archive([
      { name: 'm/data.pkl', bytes: state },
      { name: 'm/data/0', bytes },
      ...keys.slice(1).map((key) => ({ name: `m/data/${key}`, bytes: new Uint8Array(0), at: first, size: 4096 })),
    ]);
    await expect(read(file)).rejects.toThrow(/storages that do not overlap/);
    const many = Object.fromEntries(
      keys.map((name) => [name, tensorPickle({ length: 1e5, dims: [100, 1000], strides: [1, 100] })]),
    );
    await expect(read(torchFile(statePickle(many), new Array<number>(1e5).fill(0)))).rejects.toThrow(
      /about the size of the file/,
    );
  });

  it('answers any change of a byte with tensors or a clear error', async () => {
    const valid = torchFile(one(PLAIN), SIX);
    const changes = fc.array(fc.tuple(fc.nat(valid.byteLength - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const bytes = Buffer.from(valid);
        for (const [at, value] of list) bytes[at] = value;
        const result = await read(bytes).catch((error: unknown) => error);
        expect(result instanceof Map || result instanceof WinnowError).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe('files of torch.save before PyTorch 1.6', () => {
  const data = statePickle({
    second: tensorPickle({ key: '94', length: 2, dims: [2], strides: [1] }),
    first: tensorPickle({ ...PLAIN, key: '93' }),
    tied: tensorPickle({ key: '93', length: 6, dims: [3, 2], strides: [1, 3] }),
  });
  const STORAGES = { 93: SIX, 94: [7, 8] };

  it('gives tensors of storages in the order of the file', async () => {
    const tensors = await read(legacyFile(data, STORAGES));
    expect(['first', 'second', 'tied'].map((name) => numbers(tensors.get(name)!))).toEqual([
      SIX,
      [7, 8],
      [1, 4, 2, 5, 3, 6],
    ]);
  });

  it.each<[string, Buffer, RegExp]>([
    ['os.system', legacyFile(pickle('cos\nsystem\n.'), {}), /names os\.system; it was not run/],
    [
      'a storage that is a view of another',
      legacyFile(statePickle({ view: tensorPickle({ ...PLAIN, view: true }) }), { 0: SIX }),
      /another persistent id/,
    ],
    ['another version', legacyFile(data, STORAGES, 1002), /version 1001 of the format, got 1002/],
    ['a storage too few', legacyFile(data, { 93: SIX }), /2 storages, each once, got 1/],
    ['a storage of another length', legacyFile(data, { 93: [1], 94: [7, 8] }), /storage of 6 numbers, got 1/],
    ['an unknown storage', legacyFile(data, { 93: SIX, 95: [7, 8] }), /storages of the tensors/],
    ['a cut end', legacyFile(data, STORAGES).subarray(0, -4), /8 bytes at \d+, got a file of/],
    ['more bytes', Buffer.concat([legacyFile(data, STORAGES), Buffer.alloc(3)]), /the end of the file/],
  ])('refuses one with %s', async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toThrow(message);
  });
});

describe('a folder with pytorch_model.bin', () => {
  /** Writes weights as a file of torch.save. */
  const fileOf = (weights: ReturnType<typeof modernbertWeights>) => {
    const entries = [...weights];
    const tensors = entries.map(([name, t], key) => {
      const values = numbers(t);
      const strides = t.dims.map((_, i) => t.dims.slice(i + 1).reduce((a, b) => a * b, 1));
      return [name, tensorPickle({ key: String(key), length: values.length, dims: t.dims, strides })] as const;
    });
    return torchFile(statePickle(Object.fromEntries(tensors)), ...entries.map(([, t]) => numbers(t)));
  };

  it('gives the graph of its safetensors, whole and in shards', async () => {
    const weights = modernbertWeights();
    const at = await writeCheckpoint(join(root, 'whole'), MODERNBERT, weights);
    const initializers = async () => [...holdWeights(await fromSafetensors(at)).graph.initializers];
    const expected = await initializers();
    await rm(join(at, 'model.safetensors'));
    await writeFile(join(at, 'pytorch_model.bin'), fileOf(weights));
    expect(await initializers()).toEqual(expected);

    await rm(join(at, 'pytorch_model.bin'));
    const halves = [0, 1].map((half) => [...weights].filter((_, i) => i % 2 === half));
    for (const [i, half] of halves.entries()) await writeFile(join(at, `part-${i}.bin`), fileOf(new Map(half)));
    const map = Object.fromEntries(halves.flatMap((half, i) => half.map(([name]) => [name, `part-${i}.bin`])));
    await writeFile(join(at, 'pytorch_model.bin.index.json'), JSON.stringify({ weight_map: map }));
    expect(await initializers()).toEqual(expected);

    await writeFile(join(at, 'pytorch_model.bin.index.json'), JSON.stringify({ weight_map: { a: '../part-0.bin' } }));
    await expect(fromSafetensors(at)).rejects.toThrow(/a \.bin file beside the index, got "\.\.\/part-0\.bin"/);
  });
});
