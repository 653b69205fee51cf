import { type FileHandle, open } from 'node:fs/promises';
import { DATA_TYPES } from './dtypes.ts';
import { refusePickle, unpickle } from './pickle.ts';
import type { Tensor } from './tensor.ts';
import { type Archive, findMember, readArchive, readMember } from './torch-archive.ts';
import { isLegacy, readLegacy } from './torch-legacy.ts';
import { checkTotals, meaningOf, type Part, PICKLE_LIMIT, partsOf, tensorAt } from './torch-state.ts';

/*
 * Files of `torch.save` that hold a dictionary of tensors (`pytorch_model.bin`). Nothing in them is run: the pickle may name the classes of
 * `torch-state.ts` and no others.
 */

/** Returns the folder in the archive that holds data.pkl, with its slash. */
function rootOf(path: string, { members }: Archive): string {
  const roots = [...members.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (roots.length !== 1) throw refusePickle(path, 'one data.pkl in the archive', `${roots.length}`);
  const root = roots[0]!.slice(0, -'data.pkl'.length);
  const bytes = members.get(roots[0]!)!.bytes;
  if (bytes > PICKLE_LIMIT) throw refusePickle(path, `a pickle of at most ${PICKLE_LIMIT} bytes`, `${bytes}`);
  return root;
}

/** Checks that storages are as long as the pickle says, and together no larger than the file. */
function checkStorages(path: string, root: string, archive: Archive, parts: ReadonlyMap<string, Part>): void {
  const bytesOf = new Map<string, number>();
  for (const [name, { storage }] of parts) {
    const width = DATA_TYPES[storage.dtype].bytes;
    const found = archive.members.get(`${root}data/${storage.key}`)?.bytes;
    if (found !== storage.length * width)
      throw refusePickle(
        `${path}: tensor ${name}`,
        `a storage of ${storage.length * width} bytes`,
        found === undefined ? `no file data/${storage.key}` : `${found}`,
      );
    bytesOf.set(storage.key, found);
  }
  checkTotals(path, archive.end, bytesOf.values(), parts.values());
}

async function readZipped(file: FileHandle, path: string): Promise<Map<string, Tensor>> {
  const archive = await readArchive(file, path);
  const root = rootOf(path, archive);
  if (archive.members.has(`${root}byteorder`)) {
    const order = new TextDecoder().decode((await readMember(file, path, archive, `${root}byteorder`)).subarray(0, 16));
    if (order !== 'little') throw refusePickle(path, 'little-endian numbers', order);
  }
  const { value } = unpickle(await readMember(file, path, archive, `${root}data.pkl`), meaningOf(path));
  const parts = partsOf(path, value);
  checkStorages(path, root, archive, parts);
  const tensors = new Map<string, Tensor>();
  for (const [name, part] of parts) {
    const { at } = await findMember(file, path, archive, `${root}data/${part.storage.key}`);
    tensors.set(name, tensorAt(path, at, part));
  }
  return tensors;
}

/**
 * Opens a file of `torch.save` that holds a dictionary of tensors, without running what is in it. Each tensor is read when its bytes are, and
 * is not kept.
 * @throws WinnowError `invalid_graph` for other files: with other objects, compressed, cut, or with sizes that do not match.
 */
export async function openTorchFile(path: string): Promise<Map<string, Tensor>> {
  const file = await open(path, 'r');
  try {
    return await ((await isLegacy(file)) ? readLegacy(file, path) : readZipped(file, path));
  } finally {
    await file.close();
  }
}
