import { WinnowError } from '../errors.ts';
import { putLabel } from './labels.ts';
import { excerpt, isName, NAME_RULE } from './model-names.ts';
import { readCatalog } from './registry-catalog.ts';
import { unknownModel, unknownVersion } from './unknown-names.ts';

/**
 * Sets a label of a model in a registry folder to one of its versions, without a server.
 * @throws WinnowError `unknown_model`, `unknown_version`, `invalid_field`.
 */
export async function relabel(registryFolder: string, name: string, label: string, version: string): Promise<void> {
  if (!isName(label))
    throw new WinnowError('invalid_field', { expected: NAME_RULE, got: excerpt(label), field: 'label' });
  const { models } = await readCatalog(registryFolder);
  const model = models.find((m) => m.name === name);
  if (!model)
    throw unknownModel(
      models.map((m) => m.name),
      name,
    );
  const known = model.versions.map((v) => v.version);
  if (!known.includes(version)) throw unknownVersion(name, known, version);
  await putLabel(model.folder, label, version);
}
