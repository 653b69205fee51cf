import { WinnowError } from '../errors.ts';
import { verifyFolder, warningsOf } from './import-version.ts';
import { parseReference } from './model-names.ts';
import { readCatalog } from './registry-catalog.ts';
import type { AdmissionDeps } from './version-admission.ts';

/** What admission found about one version. */
export type VerifiedVersion = { readonly name: string; readonly version: string } & (
  | {
      readonly admitted: true;
      readonly variants: readonly string[];
      readonly hashed: boolean;
      readonly warnings: readonly string[];
    }
  | { readonly admitted: false; readonly reason: string }
);

interface NamedVersion {
  readonly name: string;
  readonly disk: { readonly version: string; readonly folder: string; readonly skip: ReadonlySet<string> };
}

/**
 * Returns the versions of a registry folder that a reference names: model, model@version or model:label; all where it is absent.
 * @throws WinnowError `unknown_model` for a reference that names none.
 */
export async function versionsNamed(folder: string, reference: string | undefined): Promise<readonly NamedVersion[]> {
  const { models } = await readCatalog(folder);
  const all = models.flatMap((m) => m.versions.map((disk) => ({ name: m.name, disk, labels: m.labels })));
  if (reference === undefined) return all;
  const wanted = parseReference(reference);
  const found = all.filter(
    ({ name, disk, labels }) =>
      name === wanted?.name &&
      (wanted.version === undefined || disk.version === wanted.version) &&
      (wanted.label === undefined || labels?.get(wanted.label) === disk.version),
  );
  if (found.length > 0) return found;
  const known = models.map((m) => m.name).join(', ') || 'no model';
  throw new WinnowError('unknown_model', { known, got: reference });
}

/** Runs versions through full admission, one after another. */
export async function* verifyVersions(
  versions: readonly NamedVersion[],
  deps: AdmissionDeps,
): AsyncGenerator<VerifiedVersion> {
  for (const { name, disk } of versions) {
    const { version } = disk;
    try {
      const { inspected, results } = await verifyFolder(disk.folder, deps, disk.skip);
      const hashed = inspected.version.manifest?.files !== undefined;
      const variants = results.map(({ variant }) => variant);
      yield { name, version, admitted: true, variants, hashed, warnings: warningsOf(results) };
    } catch (error) {
      yield { name, version, admitted: false, reason: (error as Error).message };
    }
  }
}
