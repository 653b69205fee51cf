import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { copyManifests, hasKubectl, manifestsOf } from '../k8s/renderings.ts';
import { isReady } from './ask.ts';
import type { Built } from './build.ts';
import { type Container, type Mount, startContainer } from './container.ts';
import type { Result } from './result.ts';

const OVERLAY = 'overlays/cpu';

interface Variable {
  readonly name: string;
  readonly value?: string;
}
interface PodSpec {
  readonly securityContext: { readonly runAsUser: number; readonly runAsGroup: number; readonly fsGroup: number };
  readonly containers: readonly {
    readonly args: readonly string[];
    readonly env: readonly Variable[];
    readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
    readonly startupProbe: { readonly httpGet: { readonly path: string } };
    readonly readinessProbe: { readonly httpGet: { readonly path: string } };
    readonly livenessProbe: { readonly httpGet: { readonly path: string } };
  }[];
}

function readPod(root: string): { readonly pod: PodSpec; readonly settings: Readonly<Record<string, string>> } {
  const copy = copyManifests(join(root, 'k8s'));
  try {
    const manifests = manifestsOf(copy.render({ name: OVERLAY, folder: OVERLAY, components: [] }));
    const pod: PodSpec = Object(manifests.find(({ kind }) => kind === 'Deployment')?.spec).template.spec;
    const settings = Object(manifests.find(({ kind }) => kind === 'ConfigMap')?.data);
    return { pod, settings };
  } finally {
    copy.remove();
  }
}

/** The variables as a kubelet gives them: fields of the pod are its name, `$(NAME)` is a variable before. */
function variables(env: readonly Variable[]): Record<string, string> {
  const known: Record<string, string> = {};
  for (const { name, value = 'winnow-0' } of env)
    known[name] = value.replaceAll(/\$\((\w+)\)/g, (whole, other: string) => known[other] ?? whole);
  return known;
}

/** Empty volumes, as a kubelet makes them for `fsGroup`. */
async function withVolumes<T>(pod: PodSpec, work: (mounts: readonly Mount[]) => Promise<T>): Promise<T> {
  const mounts = pod.containers[0]!.volumeMounts.map(({ name, mountPath }) => {
    const source = mkdtempSync(join(tmpdir(), `winnow-${name}-`));
    chownSync(source, 0, pod.securityContext.fsGroup);
    chmodSync(source, 0o2775);
    return { source, target: mountPath, isWritable: true };
  });
  try {
    return await work(mounts);
  } finally {
    for (const { source } of mounts) rmSync(source, { recursive: true, force: true });
  }
}

const statusOf = async (base: string, path: string): Promise<string> =>
  `${path} ${(await fetch(new URL(path, base), { signal: AbortSignal.timeout(30_000) })).status}`;

const adminUrlIn = ({ log }: Container): string =>
  log.map((line) => (line.startsWith('{') ? JSON.parse(line).adminUrl : undefined)).find(Boolean);

async function look(container: Container, pod: PodSpec): Promise<Result[]> {
  const { startupProbe, readinessProbe, livenessProbe, volumeMounts } = pod.containers[0]!;
  await isReady(container.url);
  const probes: string[] = [];
  for (const { httpGet } of [startupProbe, readinessProbe, livenessProbe])
    probes.push(await statusOf(container.url, httpGet.path));
  const ports = [await statusOf(container.url, '/metrics'), await statusOf(adminUrlIn(container), '/metrics')];
  const write = (folder: string) =>
    container.exec('node', '-e', `require('fs').writeFileSync('${folder}/probe', '1')`).code;
  const places = volumeMounts.map(({ mountPath }) => `${mountPath} ${write(mountPath)}`);
  const outside = write('/app');
  const code = await container.stop();
  const claim = (text: string) => `the pod of ${OVERLAY}: ${text}`;
  return [
    { claim: claim('probes'), seen: probes.join(', '), passed: probes.every((probe) => probe.endsWith(' 200')) },
    { claim: claim('metrics'), seen: ports.join(', '), passed: ports.join() === '/metrics 404,/metrics 200' },
    {
      claim: claim('writes to its volumes alone'),
      seen: `exit codes: ${places.join(', ')}, /app ${outside}`,
      passed: places.every((place) => place.endsWith(' 0')) && outside !== 0,
    },
    { claim: claim('ends on SIGTERM'), seen: `exit code ${code}`, passed: code === 0 },
  ];
}

/** Runs the pod of the manifests: their user, groups, variables, arguments, volumes and probes. No result where kubectl is missing. */
export async function podOfManifests({ image }: Built, root: string): Promise<Result[]> {
  if (!hasKubectl()) return [];
  const { pod, settings } = readPod(root);
  const { runAsUser, runAsGroup } = pod.securityContext;
  const { args, env } = pod.containers[0]!;
  // Any port of this machine: the container has no network of its own.
  const ports = { WINNOW_SERVER_PORT: '0', WINNOW_SERVER_ADMIN_PORT: '0' };
  return withVolumes(pod, async (volumes) => {
    const models = { source: join(root, 'models'), target: '/app/models', isWritable: false };
    const container = await startContainer({
      image,
      user: `${runAsUser}:${runAsGroup}`,
      args,
      env: { ...settings, ...variables(env), ...ports },
      mounts: [...volumes, models],
    });
    try {
      return await look(container, pod);
    } finally {
      container.remove();
    }
  });
}
