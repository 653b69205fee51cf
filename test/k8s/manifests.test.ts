import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { loadConfig } from '../../src/config/load-config.ts';
import { settings } from '../../src/config/setting-list.ts';
import { planHosts } from '../../src/main/plan-hosts.ts';
import { canonical, kustomize, type Manifest, withoutSuffix } from './kustomize.ts';
import { checkValues, unknownFields } from './schemas.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const OVERLAYS = ['cpu', 'cuda'] as const;
const folderOf = (overlay: string) => join(ROOT, 'k8s', 'overlays', overlay);
const rendered = Object.fromEntries(OVERLAYS.map((overlay) => [overlay, kustomize(folderOf(overlay))]));
const withImageVolume = kustomize(join(ROOT, 'k8s', 'components', 'models-image'), rendered.cpu);

const find = (manifests: readonly Manifest[] | undefined, kind: string): Manifest => {
  const found = manifests?.filter((m) => m.kind === kind) ?? [];
  expect(found).toHaveLength(1);
  return found[0]!;
};

interface PodSpec {
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: Record<string, unknown>;
  readonly volumes: readonly { readonly name: string }[];
  readonly tolerations?: readonly unknown[];
  readonly automountServiceAccountToken: boolean;
  readonly containers: readonly {
    readonly name: string;
    readonly image: string;
    readonly args: readonly string[];
    readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
    readonly lifecycle: { readonly preStop: { readonly sleep: { readonly seconds: number } } };
    readonly startupProbe: { readonly httpGet: { readonly path: string } };
    readonly readinessProbe: { readonly httpGet: { readonly path: string }; readonly failureThreshold: number };
    readonly livenessProbe: { readonly httpGet: { readonly path: string } };
    readonly securityContext: Record<string, unknown>;
    readonly volumeMounts: readonly { readonly name: string }[];
    readonly resources: { readonly limits: Record<string, string>; readonly requests: Record<string, string> };
  }[];
}
const podOf = (manifests: readonly Manifest[] | undefined) =>
  (find(manifests, 'Deployment').spec as { template: { spec: PodSpec } }).template.spec;
const settingsIn = (manifests: readonly Manifest[] | undefined) =>
  find(manifests, 'ConfigMap').data as Record<string, string>;

/** `kubectl kustomize`, where there is one. */
function kubectl(folder: string): Manifest[] | undefined {
  try {
    const text = execFileSync('kubectl', ['kustomize', folder], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
const hasKubectl = kubectl(folderOf('cpu')) !== undefined;

describe.each(OVERLAYS)('overlay %s', (overlay) => {
  const manifests = rendered[overlay]!;
  const pod = podOf(manifests);
  const container = pod.containers[0]!;

  it.skipIf(!hasKubectl)('is what kubectl kustomize gives (needs kubectl)', () => {
    expect(canonical(withoutSuffix(kubectl(folderOf(overlay))!))).toEqual(canonical(manifests));
  });

  it('holds the kinds a service needs, each valid by its schema', () => {
    expect(manifests.map(({ kind }) => kind).toSorted()).toEqual([
      'ConfigMap',
      'Deployment',
      'NetworkPolicy',
      'PodDisruptionBudget',
      'Service',
      'ServiceAccount',
    ]);
    for (const manifest of manifests) checkValues(manifest);
  });

  it('has settings the server takes, as a whole', () => {
    const env = { ...settingsIn(manifests), WINNOW_MODELS: ROOT };
    const config = loadConfig([], env);
    expect(config.inference.provider).toBe(overlay);
    const ports = Object.fromEntries(container.ports.map(({ name, containerPort }) => [name, containerPort]));
    expect(ports).toEqual({ http: config.server.port, admin: config.server.adminPort });
  });

  it('holds as many hosts as its cores start, with memory for one that replaces another', async () => {
    const env = { ...settingsIn(manifests), WINNOW_MODELS: join(ROOT, 'models') };
    const { cpu, memory } = container.resources.limits;
    const machine = { cores: Number(cpu), memoryBytes: Number(/^(\d+)Gi$/.exec(memory!)![1]) * 2 ** 30 };
    const warnings: unknown[] = [];
    const logger = { info: () => {}, warn: (facts: unknown) => warnings.push(facts) };
    const { replacesInPlace, maxRssBytes, hosts } = await planHosts(loadConfig([], env), logger, machine);
    expect(warnings).toEqual([]);
    // 0: the rule for the cores decides.
    expect(hosts).toBe(0);
    expect(replacesInPlace).toBe(false);
    const started = overlay === 'cpu' ? machine.cores : 1;
    expect(started * maxRssBytes).toBeLessThan(machine.memoryBytes);
  });

  it('gives preStop, drain and closing time within the grace period', () => {
    const drainSeconds = Number(settingsIn(manifests).WINNOW_SERVER_DRAIN_MS) / 1000;
    const { preStop } = container.lifecycle;
    const closing = /^const CLOSE_MS = ([\d_]+);$/m.exec(readFileSync(join(ROOT, 'src/main/server.ts'), 'utf8'))?.[1];
    const closingSeconds = Number(closing?.replaceAll('_', '')) / 1000;
    expect(closingSeconds).toBeGreaterThan(0);
    expect(preStop.sleep.seconds + drainSeconds + closingSeconds).toBeLessThan(pod.terminationGracePeriodSeconds);
  });

  it('sets no number of replicas, which an autoscaler or a person sets', () => {
    expect(find(manifests, 'Deployment').spec).not.toHaveProperty('replicas');
  });

  it('probes what each probe is for', () => {
    expect(container.startupProbe.httpGet.path).toBe('/health/live');
    expect(container.readinessProbe.httpGet.path).toBe('/health/ready');
    expect(container.readinessProbe.failureThreshold).toBeGreaterThanOrEqual(2);
    expect(container.livenessProbe.httpGet.path).toBe('/health/live');
  });

  it('meets the restricted Pod Security Standard', () => {
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 1000,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(pod.automountServiceAccountToken).toBe(false);
  });

  it('mounts the volumes it has, and has the volumes it mounts', () => {
    const mounted = container.volumeMounts.map(({ name }) => name);
    expect(mounted.toSorted()).toEqual(pod.volumes.map(({ name }) => name).toSorted());
  });

  it('selects its own pods everywhere', () => {
    const template = (find(manifests, 'Deployment').spec as { template: { metadata: { labels: object } } }).template;
    const selectors = [
      (find(manifests, 'Deployment').spec as { selector: { matchLabels: object } }).selector.matchLabels,
      (find(manifests, 'Service').spec as { selector: object }).selector,
      (find(manifests, 'PodDisruptionBudget').spec as { selector: { matchLabels: object } }).selector.matchLabels,
      (find(manifests, 'NetworkPolicy').spec as { podSelector: { matchLabels: object } }).podSelector.matchLabels,
    ];
    for (const selector of selectors) {
      expect(Object.keys(selector)).not.toHaveLength(0);
      expect(template.metadata.labels).toMatchObject(selector);
    }
  });

  it('runs an image the Dockerfile has a target for', () => {
    const target = container.image.split(':')[1];
    expect(readFileSync(join(ROOT, 'Dockerfile'), 'utf8')).toMatch(new RegExp(`^FROM .+ AS ${target}$`, 'm'));
    expect(container.args).toEqual(['serve']);
  });
});

describe('manifests', () => {
  it('hold no field the API does not know', async () => {
    const all = [...rendered.cpu!, ...rendered.cuda!, ...withImageVolume];
    expect(await unknownFields(all)).toEqual([]);
    const misspelt = structuredClone(find(rendered.cpu, 'Deployment')) as unknown as {
      spec: { template: { spec: { containers: Record<string, unknown>[] } } };
    };
    misspelt.spec.template.spec.containers[0]!.livenesProbe = {};
    expect((await unknownFields([misspelt as unknown as Manifest])).join()).toContain('livenesProbe');
  });

  it('only the cuda overlay asks for a GPU', () => {
    expect(podOf(rendered.cuda).containers[0]!.resources.limits['nvidia.com/gpu']).toBe('1');
    expect(podOf(rendered.cuda).tolerations).toHaveLength(1);
    expect(JSON.stringify(rendered.cpu)).not.toContain('nvidia');
  });

  it('take models from an image volume with the component', () => {
    for (const manifest of withImageVolume) checkValues(manifest);
    const pod = podOf(withImageVolume);
    expect(pod.volumes.map(({ name }) => name)).toContain('models');
    expect(JSON.stringify(pod)).toContain('"name":"WINNOW_MODELS","value":"/models"');
  });

  it('name only settings that exist', () => {
    const known = settings().map(({ env }) => env);
    const text = readFileSync(join(ROOT, 'k8s', 'base', 'settings.env'), 'utf8');
    const used = text
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split('=')[0]!);
    expect(used.filter((name) => !known.includes(name))).toEqual([]);
  });

  it('let clients, Prometheus, DNS and the trace collector through, nobody else', () => {
    const policy = find(rendered.cpu, 'NetworkPolicy').spec as {
      policyTypes: string[];
      ingress: { from: unknown[]; ports: unknown[] }[];
      egress: { ports: { port: number }[] }[];
    };
    expect(policy.policyTypes).toEqual(['Ingress', 'Egress']);
    const clients = { matchLabels: { 'winnow-client': 'true' } };
    const prometheus = { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } };
    expect(policy.ingress).toEqual([
      { from: [{ namespaceSelector: clients }], ports: [{ port: 'http', protocol: 'TCP' }] },
      { from: [{ namespaceSelector: prometheus }], ports: [{ port: 'admin', protocol: 'TCP' }] },
    ]);
    expect(policy.egress.flatMap(({ ports }) => ports.map(({ port }) => port))).toEqual([53, 53, 4318]);
  });

  it('every file of k8s/ parses', () => {
    const base = parse(readFileSync(join(ROOT, 'k8s', 'base', 'kustomization.yaml'), 'utf8')) as {
      resources: string[];
    };
    for (const resource of base.resources)
      expect(parse(readFileSync(join(ROOT, 'k8s', 'base', resource), 'utf8'))).toHaveProperty('kind');
  });
});
