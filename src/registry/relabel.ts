import { WinnowError } from '../errors.ts';
import { putLabel } from './labels.ts';
import { excerpt, isName, NAME_RULE } from './model-names.ts';
import { readCatalog } from './registry-catalog.ts';

/**
 * Sets a label of a model in a registry folder to one of its versions, without a server.
 * @throws WinnowError `unknown_model`, `unknown_version`, `invalid_field`.
 */
export async function relabel(registryFolder: string, name: string, label: string, version: string): Promise<void> {
  if (!isName(label))
    throw new WinnowError('invalid_field', { expected: NAME_RULE, got: excerpt(label), field: 'label' });
  const { models } = await readCatalog(registryFolder);
  const model = models.find((m) => m.name === name);
  if (!model) {
    const known = models.map((m) => m.name).join(', ') || 'no model';
    throw new WinnowError('unknown_model', { known, got: excerpt(name) });
  }
  const known = model.versions.map((v) => v.version);
  if (!known.includes(version))
    throw new WinnowError('unknown_version', { model: name, known: known.join(', ') || 'none', got: excerpt(version) });
  await putLabel(model.folder, label, version);
}
