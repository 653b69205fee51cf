import { setTimeout as delay } from 'node:timers/promises';
import type { Manifest } from '../k8s/kustomize.ts';
import { manifestsOf } from '../k8s/renderings.ts';
import type { Cluster } from './cluster.ts';
import { firstLine, type Result } from './tools.ts';

const WAIT_MS = 90_000;

/** Calls `look` until it returns something. @throws Error that says what was expected, after 90 s. */
export async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  const end = performance.now() + WAIT_MS;
  while (performance.now() < end) {
    const found = look();
    if (found !== undefined) return found;
    await delay(100);
  }
  throw new Error(`expected ${what}, got none within ${WAIT_MS} ms`);
}

/** Returns the objects of a kind in a namespace. */
export function list(cluster: Cluster, namespace: string, kind: string): Manifest[] {
  return JSON.parse(cluster.kubectl(['-n', namespace, 'get', kind, '-o', 'json']).stdout).items;
}

/** Makes a namespace in which Pod Security refuses and warns by `restricted`, with the account that pods have by default. */
export async function restrictedNamespace(cluster: Cluster, name: string): Promise<void> {
  const level = (mode: string) => [`pod-security.kubernetes.io/${mode}`, 'restricted'];
  const labels = Object.fromEntries(['enforce', 'warn', 'audit'].map(level));
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
  cluster.kubectl(['create', '-f', '-'], JSON.stringify(namespace));
  await until(`a ServiceAccount default in ${name}`, () =>
    list(cluster, name, 'serviceaccounts').find(({ metadata }) => metadata.name === 'default'),
  );
}

/** What the controllers said when a pod was refused, if one was. */
export const refusal = (cluster: Cluster, namespace: string): string | undefined =>
  list(cluster, namespace, 'events')
    .filter(({ reason }) => reason === 'FailedCreate')
    .map(({ message }) => String(message))[0];

/** Pods that the controllers have to make: those of Deployments and Jobs. */
const wantedPods = (manifests: readonly Manifest[]): number =>
  manifests
    .filter(({ kind }) => kind === 'Deployment' || kind === 'Job')
    .map(({ spec }) => Object(spec))
    .reduce((sum, { replicas, parallelism }) => sum + (replicas ?? parallelism ?? 1), 0);

/** Waits for the pods of manifests. @returns their number. @throws Error with the reason why one was refused. */
export async function podsMade(cluster: Cluster, namespace: string, manifests: readonly Manifest[]): Promise<number> {
  const wanted = wantedPods(manifests);
  return until(`${wanted} pods`, () => {
    const refused = refusal(cluster, namespace);
    if (refused) throw new Error(refused);
    const { length } = list(cluster, namespace, 'pods');
    return length >= wanted ? length : undefined;
  });
}

/** Applies manifests server-side, unknown fields refused and warnings taken as faults; then waits for their pods. */
export async function applied(cluster: Cluster, name: string, namespace: string, text: string): Promise<Result> {
  const claim = `${name}: applied, pods admitted`;
  try {
    const manifests = manifestsOf(text);
    await restrictedNamespace(cluster, namespace);
    const { stderr } = cluster.kubectl(
      ['-n', namespace, 'apply', '--server-side', '--validate=strict', '-f', '-'],
      text,
    );
    if (stderr.trim()) throw new Error(stderr);
    const pods = await podsMade(cluster, namespace, manifests);
    return { claim, seen: `${manifests.length} objects, ${pods} pods`, passed: true };
  } catch (error) {
    return { claim, seen: firstLine(error), passed: false };
  }
}
