import { parseReference } from '../../registry/model-names.ts';
import type { ModelRegistry, VersionStatus } from '../../registry/registry-types.ts';
import { candidates } from '../../registry/routing.ts';

/** A name that requests may use, and the version that answers it now. */
export interface ListedName {
  readonly id: string;
  readonly kind: 'model' | 'label' | 'alias' | 'version';
  readonly status: VersionStatus;
}

export const idOf = ({ name, version }: VersionStatus) => `${name}@${version}`;

/** Returns the version that answers requests which name the model, or its label; the first refused one if none may. */
function answering(versions: readonly VersionStatus[], label: string | undefined): VersionStatus | undefined {
  const labels = new Map(versions.flatMap((status) => status.labels.map((one) => [one, status.version] as const)));
  const routable = versions.map(({ version, state }) => ({
    version,
    refused: state === 'refused',
    stopped: state === 'unloaded',
  }));
  const [first] = candidates(routable, labels, label);
  return versions.find(({ version }) => version === first) ?? (label === undefined ? versions[0] : undefined);
}

function namesOf(versions: readonly VersionStatus[]): readonly ListedName[] {
  const labels = [...new Set(versions.flatMap((status) => status.labels))].sort();
  const { name } = versions[0]!;
  return [undefined, ...labels].flatMap((label) => {
    const status = answering(versions, label);
    if (!status) return [];
    return [
      label === undefined ? { id: name, kind: 'model', status } : { id: `${name}:${label}`, kind: 'label', status },
    ];
  });
}

/** Returns the version of a reference: `model`, `model@version` or `model:label`. */
function statusAt(
  reference: string,
  byModel: ReadonlyMap<string, readonly VersionStatus[]>,
): VersionStatus | undefined {
  const wanted = parseReference(reference);
  const versions = (wanted && byModel.get(wanted.name)) ?? [];
  if (wanted?.version !== undefined) return versions.find(({ version }) => version === wanted.version);
  return answering(versions, wanted?.label);
}

/** Returns the version that answers a reference, or requests without one; undefined for one that nothing answers. */
export function statusOf(
  registry: Pick<ModelRegistry, 'list' | 'canonical' | 'defaultModel'>,
  reference = registry.defaultModel,
): VersionStatus | undefined {
  if (reference === undefined) return undefined;
  return statusAt(
    registry.canonical(reference),
    Map.groupBy(registry.list(), ({ name }) => name),
  );
}

const RANKS = { model: 0, alias: 1, label: 2, version: 3 } as const;

/**
 * Returns every name that requests may use, in the order in which clients should choose: the default model first, plain names before aliases,
 * labels and exact versions, what is refused last. A client that takes the first one gets an answer, and is inside experiments, which leave
 * out requests for an exact version.
 */
export function listedNames(registry: Pick<ModelRegistry, 'list' | 'aliases' | 'defaultModel'>): readonly ListedName[] {
  const all = registry.list();
  const byModel = Map.groupBy(all, ({ name }) => name);
  const names: readonly ListedName[] = [
    ...[...byModel.values()].flatMap(namesOf),
    ...registry.aliases().flatMap(([id, reference]) => {
      const status = statusAt(reference, byModel);
      return status ? [{ id, kind: 'alias' as const, status }] : [];
    }),
    ...all.map((status) => ({ id: idOf(status), kind: 'version' as const, status })),
  ];
  const first = registry.defaultModel;
  const place = ({ id, kind, status }: ListedName) =>
    (status.state === 'refused' ? 100 : 0) + (id === first ? -10 : 0) + RANKS[kind];
  return names.toSorted((a, b) => place(a) - place(b));
}
