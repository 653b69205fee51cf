import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { findHelm } from './helm.ts';
import { canonical, type Manifest } from './kustomize.ts';
import { type Copy, copyManifests, hasKubectl, manifestsOf } from './renderings.ts';

const ROOT = join(import.meta.dirname, '../..');
const CHART = join(ROOT, 'charts/winnow');

const HELM = findHelm();

/** Values of the chart, and the same in k8s/. Components are in the order in which the chart applies them. */
const CASES: readonly (readonly [values: readonly string[], folder: string, components: readonly string[]])[] = [
  [[], 'overlays/cpu', []],
  [['gpu.enabled=true'], 'overlays/cuda', []],
  [['gpu.enabled=true'], 'overlays/cpu', ['gpu']],
  [['autoscaling.enabled=true'], 'overlays/cpu', ['autoscaling']],
  [['autoscaling.enabled=true', 'autoscaling.by=keda'], 'overlays/cpu', ['autoscaling-keda']],
  [['monitoring.enabled=true'], 'overlays/cpu', ['monitoring']],
  [['experiments.postgres=true'], 'overlays/cpu', ['experiments-postgres']],
  [['apiKeys.enabled=true'], 'overlays/cpu', ['api-keys']],
  [['ingress.enabled=true'], 'overlays/cpu', ['ingress']],
  [['openshift.enabled=true'], 'overlays/cpu', ['openshift']],
  [['models.from=image'], 'overlays/cpu', ['models-image']],
  [['models.from=pull'], 'overlays/cpu', ['models-pull']],
  [['models.from=pvc'], 'overlays/cpu', ['models-pvc']],
  [
    ['monitoring.enabled=true', 'autoscaling.enabled=true', 'experiments.postgres=true', 'apiKeys.enabled=true'].concat(
      ['ingress.enabled=true', 'gpu.enabled=true', 'models.from=pull'],
    ),
    'overlays/cpu',
    ['monitoring', 'autoscaling', 'experiments-postgres', 'api-keys', 'ingress', 'gpu', 'models-pull'],
  ],
];

const helm = (...args: readonly string[]): string =>
  execFileSync(HELM!, [...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64e6 });

const template = (...values: readonly string[]): Manifest[] =>
  manifestsOf(helm('template', 'winnow', CHART, '--namespace', 'winnow', ...values.flatMap((v) => ['--set', v])));

/** What Helm's users expect on top: labels of the release, and an annotation that rolls the pods when a setting changes. */
const OF_HELM = [
  'app.kubernetes.io/instance',
  'app.kubernetes.io/managed-by',
  'app.kubernetes.io/version',
  'helm.sh/chart',
];

function withoutHelm(manifests: readonly Manifest[]): Manifest[] {
  return manifests.map((manifest) => {
    const copy = structuredClone(manifest);
    for (const label of OF_HELM) {
      expect(copy.metadata.labels, manifest.kind).toHaveProperty([label]);
      delete copy.metadata.labels![label];
    }
    if (copy.kind === 'Deployment') {
      const { annotations } = Object(copy.spec).template.metadata;
      expect(annotations['checksum/settings']).toMatch(/^[0-9a-f]{64}$/);
      delete annotations['checksum/settings'];
    }
    return copy;
  });
}

const find = (manifests: readonly Manifest[], kind: string) => manifests.find((manifest) => manifest.kind === kind)!;
const podOf = (manifests: readonly Manifest[]) => Object(find(manifests, 'Deployment').spec).template.spec;

describe('chart', () => {
  it('has the version of the program, and a schema for every value', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'))).toMatchObject({ version, appVersion: version });
    const schema = JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8'));
    const values = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8'));
    const compare = (known: object, properties: object): void => {
      expect(Object.keys(properties)).toEqual(Object.keys(known));
      for (const [name, value] of Object.entries(known))
        if (typeof value === 'object' && Object.keys(value ?? {}).length > 0 && !Array.isArray(value))
          compare(value, Object(properties)[name].properties);
    };
    // Helm adds `global` where the chart is part of another one.
    const { global: _, ...properties } = schema.properties;
    compare(values, properties);
  });

  it('has a value for every component', () => {
    const known = new Set(CASES.flatMap(([, , components]) => components));
    expect([...known].toSorted()).toEqual(readdirSync(join(CHART, 'k8s/components')).toSorted());
  });

  it('takes the manifests from k8s/ by a link', () => {
    expect(existsSync(join(CHART, 'k8s/base/kustomization.yaml'))).toBe(true);
  });
});

describe.skipIf(HELM === undefined || !hasKubectl())('chart rendered by Helm (needs helm 3 and kubectl)', () => {
  let copy: Copy;
  beforeAll(() => {
    copy = copyManifests(join(ROOT, 'k8s'));
  });
  afterAll(() => copy.remove());

  it('passes lint', () => {
    expect(helm('lint', CHART)).toContain('1 chart(s) linted, 0 chart(s) failed');
  });

  it.each(CASES)('with %j is %s with %j', (values, folder, names) => {
    const components = names.map((name) => `components/${name}`);
    const rendered = copy.render({ name: folder, folder, components });
    // The hash in its name rolls the pods; Helm has an annotation for that.
    const expected = manifestsOf(rendered.replaceAll(/winnow-settings-[a-z0-9]{10}/g, 'winnow-settings'));
    expect(canonical(withoutHelm(template(...values)))).toEqual(canonical(expected));
  });

  it('changes what values say', () => {
    const manifests = template(
      ...['image.repository=registry.example.org/winnow', 'image.digest=sha256:12', 'image.pullPolicy=Always'],
      ...['replicas=3', 'settings.WINNOW_SCHEDULING_MAX_WAIT_MS=2000', 'resources.limits.cpu=4', 'env[0].name=A'],
      ...['env[0].value=b', 'pod.nodeSelector.disk=ssd', 'podAnnotations.team=search', 'networkPolicy.enabled=false'],
      ...['patches.Service.spec.type=NodePort', 'models.from=pull', 'models.pull.model=org/model'],
    );
    const pod = podOf(manifests);
    const [server] = pod.containers;
    expect(find(manifests, 'Deployment').spec).toMatchObject({ replicas: 3 });
    const image = { image: 'registry.example.org/winnow@sha256:12', imagePullPolicy: 'Always' };
    expect(server).toMatchObject({ ...image, resources: { limits: { cpu: 4 }, requests: { cpu: '2' } } });
    expect(server.env).toContainEqual({ name: 'A', value: 'b' });
    expect(pod.initContainers[0]).toMatchObject(image);
    expect(pod.initContainers[0].env).toContainEqual({ name: 'MODEL', value: 'org/model' });
    expect(pod.nodeSelector).toEqual({ disk: 'ssd' });
    expect(find(manifests, 'ConfigMap').data).toMatchObject({
      WINNOW_SCHEDULING_MAX_WAIT_MS: '2000',
      WINNOW_SERVER_REPLICAS: '3',
    });
    expect(find(manifests, 'Service').spec).toMatchObject({ type: 'NodePort' });
    expect(find(manifests, 'NetworkPolicy')).toBeUndefined();
  });

  it('sets limits of the autoscaler, its namespace, and the Ingress', () => {
    const scaled = template('autoscaling.enabled=true', 'autoscaling.maxReplicas=40', 'autoscaling.minReplicas=3');
    expect(find(scaled, 'HorizontalPodAutoscaler').spec).toMatchObject({ minReplicas: 3, maxReplicas: 40 });
    expect(find(scaled, 'ConfigMap').data).toMatchObject({ WINNOW_SERVER_REPLICAS: '40' });
    const keda = manifestsOf(
      helm('template', 'winnow', CHART, '-n', 'search', '--set', 'autoscaling.enabled=true,autoscaling.by=keda'),
    );
    expect(JSON.stringify(find(keda, 'ScaledObject'))).toContain('namespace=\\"search\\"');
    const open = template('ingress.enabled=true', 'ingress.host=rank.example.com', 'ingress.tlsSecret=tls');
    expect(find(open, 'Ingress').spec).toMatchObject({
      tls: [{ hosts: ['rank.example.com'], secretName: 'tls' }],
      rules: [{ host: 'rank.example.com' }],
    });
  });

  it.each([
    ['autoscaling.enabled=true', 'replicas=2'],
    ['replica=2'],
    ['models.from=bucket'],
    ['settings.LOG_LEVEL=debug'],
    ['autoscaling.by=cpu'],
  ])('refuses %s %s', (...values) => {
    expect(() => template(...values)).toThrow(/expected|schema|specification/);
  });
});
