import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { checkFamily } from '../../onnx/architectures/architectures.ts';
import { parseHubReference, readHubSettings } from '../../registry/hub/hub-settings.ts';
import { loadSnapshot, unlisted } from '../../registry/hub/hub-snapshot.ts';

/** A branch may move while a process runs; all of it has the files of one commit. */
const loaded = new Map<string, Promise<string>>();

/**
 * Returns the folder that `backbone` of a recipe means: a path relative to the recipe's folder, if something is there, else a model of the
 * hub, whose files are loaded into the hub's cache.
 * @throws WinnowError `invalid_input` with what to do for a model that cannot be loaded.
 */
export function findBackbone(backbone: string, folder: string): Promise<string> {
  const local = resolve(folder, backbone);
  const reference = existsSync(local) ? undefined : parseHubReference(backbone);
  if (!reference) return Promise.resolve(local);
  const found = loaded.get(backbone) ?? fromHub(reference);
  loaded.set(backbone, found);
  found.catch(() => loaded.delete(backbone));
  return found;
}

async function fromHub(reference: NonNullable<ReturnType<typeof parseHubReference>>): Promise<string> {
  const hub = await readHubSettings(process.env);
  const warn = (line: string) => process.stderr.write(`warning: ${line}\n`);
  const snapshot = await loadSnapshot(reference, { hub, warn, checkWeights: (folder) => checkFamily(folder) });
  if (snapshot) return snapshot.folder;
  throw unlisted(reference, hub);
}
