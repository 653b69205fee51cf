import { stringify } from 'yaml';
import { type Copy, manifestsOf } from '../k8s/renderings.ts';
import { list, podsMade, refusal, restrictedNamespace, until } from './apply.ts';
import type { Cluster } from './cluster.ts';
import { firstLine, type Result } from './tools.ts';

async function checked(claim: string, look: () => Promise<string>): Promise<Result> {
  try {
    return { claim, seen: await look(), passed: true };
  } catch (error) {
    return { claim, seen: firstLine(error), passed: false };
  }
}

/** The command of the documentation, as it is written there. */
export const asDocumented = (cluster: Cluster, folder: string, text: string): Promise<Result> =>
  checked('kubectl apply -k k8s/overlays/cpu, bare cluster: exit code 0', async () => {
    const namespace = 'winnow-documented';
    await restrictedNamespace(cluster, namespace);
    const { stderr } = cluster.kubectl(['-n', namespace, 'apply', '-k', folder]);
    if (stderr.trim()) throw new Error(stderr);
    return `${await podsMade(cluster, namespace, manifestsOf(text))} pod`;
  });

/** Pod Security of this server refuses, and so does its validation: without that, nothing here would show anything. */
export function negativeControls(cluster: Cluster, text: string): Promise<Result>[] {
  const refuses = async (namespace: string, from: string, to: string): Promise<string> => {
    const changed = text.replace(from, to);
    if (changed === text) throw new Error(`expected ${from} in the manifests, got none`);
    await restrictedNamespace(cluster, namespace);
    cluster.kubectl(['-n', namespace, 'apply', '--server-side', '--validate=strict', '-f', '-'], changed);
    return until('a refused pod', () => refusal(cluster, namespace));
  };
  const expecting = async (part: string, found: Promise<string>): Promise<string> => {
    const message = await found;
    if (!message.includes(part)) throw new Error(`expected ${part}, got ${message}`);
    return message.slice(0, 300);
  };
  return [
    checked('a pod with allowPrivilegeEscalation: true is refused', () =>
      expecting(
        'violates PodSecurity "restricted',
        refuses('winnow-escalation', 'allowPrivilegeEscalation: false', 'allowPrivilegeEscalation: true'),
      ),
    ),
    checked('a pod that may run as root is refused', () =>
      expecting('runAsNonRoot', refuses('winnow-root', 'runAsNonRoot: true', 'runAsNonRoot: false')),
    ),
    checked('an unknown field is refused', () =>
      expecting(
        'livenesProbe',
        refuses('winnow-unknown', 'livenessProbe:', 'livenesProbe:').catch((error: unknown) => firstLine(error)),
      ),
    ),
  ];
}

interface Slice {
  readonly ports?: readonly { readonly name: string; readonly port: number }[];
  readonly endpoints?: readonly { readonly addresses: readonly string[] }[];
}

const ADDRESS = '10.1.2.3';

const NODE = 'winnow-node';

/** The part of scheduler and kubelet: puts a pod on a node that is only a name, and reports it as running and ready. */
function reportReady(cluster: Cluster, namespace: string, pod: string): void {
  cluster.kubectl(['create', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: NODE } }));
  const target = { apiVersion: 'v1', kind: 'Node', name: NODE };
  const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { name: pod }, target };
  const path = `/api/v1/namespaces/${namespace}/pods/${pod}/binding`;
  cluster.kubectl(['create', '--raw', path, '-f', '-'], JSON.stringify(binding));
  const status = {
    phase: 'Running',
    podIP: ADDRESS,
    podIPs: [{ ip: ADDRESS }],
    conditions: [{ type: 'Ready', status: 'True' }],
  };
  const patch = JSON.stringify({ status });
  cluster.kubectl(['-n', namespace, 'patch', 'pod', pod, '--subresource=status', '--type=merge', '-p', patch]);
}

/** The Service and the disruption budget find the pods that the Deployment makes. For a server that has no nodes. */
export async function selected(cluster: Cluster, namespace: string): Promise<Result[]> {
  const [pod] = list(cluster, namespace, 'pods');
  if (pod) reportReady(cluster, namespace, pod.metadata.name);
  return [
    await checked('the Service leads to port 8080 of a ready pod', () =>
      until('an address in the slice of the Service', () => {
        const slices = list(cluster, namespace, 'endpointslices') as unknown as Slice[];
        const hit = slices.find(({ endpoints }) => endpoints?.some(({ addresses }) => addresses.includes(ADDRESS)));
        const port = hit?.ports?.find(({ name }) => name === 'http')?.port;
        return port === 8080 ? `${ADDRESS}:${port}` : undefined;
      }),
    ),
    await checked('the PodDisruptionBudget counts the pod', () =>
      until('a budget with one healthy pod', () => {
        const { currentHealthy, expectedPods, disruptionsAllowed } = Object(
          list(cluster, namespace, 'poddisruptionbudgets')[0]?.status,
        );
        if (currentHealthy !== 1) return undefined;
        return `${currentHealthy} of ${expectedPods} healthy, ${disruptionsAllowed} may be evicted`;
      }),
    ),
  ];
}

const SETTING = 'WINNOW_SCHEDULING_MAX_WAIT_MS';

/** What the documentation says of changes: a scaled Deployment stays so, and a changed setting makes new pods. */
export async function changes(cluster: Cluster, namespace: string, folder: string, copy: Copy): Promise<Result[]> {
  const wanted = () => Object(list(cluster, namespace, 'deployments')[0]?.spec).replicas;
  const changed = copy.renderText(
    stringify({
      resources: ['../k8s/overlays/cpu'],
      configMapGenerator: [{ name: 'winnow-settings', behavior: 'merge', literals: [`${SETTING}=2000`] }],
    }),
  );
  return [
    await checked('a number of pods that was set stays when the manifests are applied again', async () => {
      cluster.kubectl(['-n', namespace, 'scale', 'deployment/winnow', '--replicas=3']);
      cluster.kubectl(['-n', namespace, 'apply', '-k', folder]);
      if (wanted() !== 3) throw new Error(`expected 3, got ${wanted()}`);
      return until('3 pods', () => (list(cluster, namespace, 'pods').length === 3 ? '3 pods' : undefined));
    }),
    await checked('a changed setting makes new pods', async () => {
      cluster.kubectl(['-n', namespace, 'apply', '-f', '-'], changed);
      return until('a second ReplicaSet with a pod', () => {
        const sets = list(cluster, namespace, 'replicasets').map(({ status }) => Object(status).replicas ?? 0);
        return sets.length === 2 && sets.every((pods) => pods > 0)
          ? `pods by ReplicaSet: ${sets.join(', ')}`
          : undefined;
      });
    }),
  ];
}
