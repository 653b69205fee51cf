import { verifyFolder, warningsOf } from './import-version.ts';
import { parseReference } from './model-names.ts';
import { type Problem, readCatalog } from './registry-catalog.ts';
import { unknownModel } from './unknown-names.ts';
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

const ofModel =
  (name: string | undefined) =>
  ({ where }: Problem) =>
    where.split('/')[0] === name;

interface Named {
  readonly versions: readonly NamedVersion[];
  /** Faults of the folder that are not those of a version; with a reference, only those of its model. */
  readonly problems: readonly Problem[];
}

/**
 * Returns the versions of a registry folder that a reference names: model, model@version or model:label; all where it is absent.
 * @throws WinnowError `unknown_model` for a reference that names neither a version nor something with a fault.
 */
export async function versionsNamed(folder: string, reference: string | undefined): Promise<Named> {
  const { models, problems } = await readCatalog(folder);
  const all = models.flatMap((m) => m.versions.map((disk) => ({ name: m.name, disk, labels: m.labels })));
  const empty = models.filter(({ name, versions }) => versions.length === 0 && !problems.some(ofModel(name)));
  const nothing = empty.map(({ name }) => ({ where: name, reason: 'expected folders of versions, got none' }));
  if (reference === undefined) return { versions: all, problems: [...problems, ...nothing] };
  const wanted = parseReference(reference);
  const found = all.filter(
    ({ name, disk, labels }) =>
      name === wanted?.name &&
      (wanted.version === undefined || disk.version === wanted.version) &&
      (wanted.label === undefined || labels?.get(wanted.label) === disk.version),
  );
  const own = [...problems, ...nothing].filter(ofModel(wanted?.name));
  if (found.length > 0 || own.length > 0) return { versions: found, problems: own };
  throw unknownModel(
    models.map(({ name }) => name),
    reference,
  );
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
