import type { FileHandle } from 'node:fs/promises';
import { DATA_TYPES } from './dtypes.ts';
import { type Pickled, refusePickle, unpickle } from './pickle.ts';
import { readExactly } from './stored.ts';
import type { Tensor } from './tensor.ts';
import { checkTotals, meaningOf, type Part, PICKLE_LIMIT, partsOf, tensorAt } from './torch-state.ts';

/*
 * Files of `torch.save` before PyTorch 1.6, which older checkpoints of a hub still are: pickles of a magic number, the format's version,
 * the machine, the object and the keys of its storages, then the storages, each after its length. Source: `_legacy_save` of PyTorch.
 */

const MAGIC = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');
const VERSION = 1001;

/** Whether a file begins with the old format's magic number. */
export async function isLegacy(file: FileHandle): Promise<boolean> {
  const start = Buffer.alloc(MAGIC.byteLength);
  await file.read(start, 0, start.byteLength, 0);
  return start.equals(MAGIC);
}

/** Reads the pickles after the magic number: tensors, keys of the storages in their order, and where the storages begin. */
function readPickles(path: string, bytes: Uint8Array<ArrayBuffer>) {
  let at = MAGIC.byteLength;
  const next = (): Pickled => {
    const { value, end } = unpickle(bytes, meaningOf(path), at);
    at = end;
    return value;
  };
  const version = next();
  if (version !== VERSION) throw refusePickle(path, `version ${VERSION} of the format`, String(version));
  const machine = next();
  if (!(machine instanceof Map && machine.get('little_endian') === true))
    throw refusePickle(path, 'little-endian numbers', 'others');
  const parts = partsOf(path, next());
  const keys = next();
  if (!Array.isArray(keys)) throw refusePickle(path, 'a list of storages', 'another object');
  return { parts, keys, start: at };
}

/** Reads a file of the old format. @throws WinnowError `invalid_graph` as `openTorchFile`. */
export async function readLegacy(file: FileHandle, path: string): Promise<Map<string, Tensor>> {
  const { size } = await file.stat();
  const { parts, keys, start } = readPickles(path, await readExactly(file, path, 0, Math.min(size, PICKLE_LIMIT)));
  const byKey = Map.groupBy(parts, ([, part]) => part.storage.key);
  if (keys.length !== byKey.size || new Set(keys).size !== keys.length)
    throw refusePickle(path, `${byKey.size} storages, each once`, `${keys.length}`);
  checkTotals(path, size, [], parts.values());
  const tensors = new Map<string, Tensor>();
  let at = start;
  for (const key of keys) {
    const users = byKey.get(String(key)) ?? [];
    const bytes = await checkStorage(file, path, size, at, users);
    for (const [name, part] of users) tensors.set(name, tensorAt(path, at + 8, part));
    at += 8 + bytes;
  }
  if (at !== size) throw refusePickle(path, `the end of the file at byte ${at}`, `${size} bytes`);
  return tensors;
}

/** Checks a storage, which begins with its length. @returns its bytes after that. */
async function checkStorage(
  file: FileHandle,
  path: string,
  size: number,
  at: number,
  users: readonly (readonly [string, Part])[],
): Promise<number> {
  const [name, first] = users[0] ?? [];
  if (!first || users.some(([, { storage }]) => storage.dtype !== first.storage.dtype))
    throw refusePickle(path, 'storages of the tensors, each of one type', 'another');
  const length = Number(new DataView((await readExactly(file, path, at, 8)).buffer).getBigInt64(0, true));
  const bytes = length * DATA_TYPES[first.storage.dtype].bytes;
  if (users.some(([, { storage }]) => storage.length !== length))
    throw refusePickle(`${path}: tensor ${name}`, `a storage of ${first.storage.length} numbers`, String(length));
  if (at + 8 + bytes > size)
    throw refusePickle(`${path}: tensor ${name}`, `${bytes} bytes at ${at + 8}`, `a file of ${size}`);
  return bytes;
}
