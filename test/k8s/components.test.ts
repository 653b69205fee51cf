import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { settings } from '../../src/config/setting-list.ts';
import type { Manifest } from './kustomize.ts';
import { allRenderings, type Copy, copyManifests, hasKubectl, manifestsOf } from './renderings.ts';
import { checkValues, hasSchema, unknownFields } from './schemas.ts';

const ROOT = join(import.meta.dirname, '../..');
const K8S = join(ROOT, 'k8s');
const RENDERINGS = allRenderings(K8S);
const BUILT_IN = ['v1', 'apps/v1', 'policy/v1', 'networking.k8s.io/v1', 'batch/v1'];
const RESOURCES = ['cpu', 'ephemeral-storage', 'memory'];
const AUTOSCALERS = ['HorizontalPodAutoscaler', 'ScaledObject'];

interface Variable {
  readonly name: string;
  readonly value?: string;
}
interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly Variable[];
  readonly securityContext: Record<string, unknown>;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
  readonly resources: { readonly limits: Record<string, string>; readonly requests: Record<string, string> };
}
interface Pod {
  readonly automountServiceAccountToken: boolean;
  readonly enableServiceLinks: boolean;
  readonly securityContext: Record<string, unknown>;
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly { readonly name: string; readonly emptyDir?: object }[];
}

const ofKind = (manifests: readonly Manifest[], kind: string) => manifests.filter((m) => m.kind === kind);
const podsIn = (manifests: readonly Manifest[]): Pod[] => manifests.flatMap((m) => Object(m.spec).template?.spec ?? []);
const containersOf = (pod: Pod) => [...(pod.initContainers ?? []), ...pod.containers];
const settingsMaps = (manifests: readonly Manifest[]) =>
  ofKind(manifests, 'ConfigMap').filter(({ metadata }) => metadata.name.startsWith('winnow-settings'));
const settingsIn = (manifests: readonly Manifest[]): Record<string, string> =>
  Object.assign({}, ...settingsMaps(manifests).map(({ data }) => data)) as Record<string, string>;
const podLabels = (manifests: readonly Manifest[]) =>
  Object([...ofKind(manifests, 'Deployment'), ...ofKind(manifests, 'Job')][0]?.spec).template.metadata.labels;

describe.skipIf(!hasKubectl())('k8s/ rendered by kubectl, without a file outside of it (needs kubectl)', () => {
  let copy: Copy;
  const rendered = new Map<string, Manifest[]>();
  const of = (name: string): Manifest[] => rendered.get(name)!;
  beforeAll(() => {
    copy = copyManifests(K8S);
    for (const rendering of RENDERINGS) rendered.set(rendering.name, manifestsOf(copy.render(rendering)));
  });
  afterAll(() => copy.remove());

  describe.each(RENDERINGS.map(({ name }) => name))('%s', (name) => {
    it('has restricted pods that write only where a volume is', () => {
      expect(podsIn(of(name))).not.toHaveLength(0);
      for (const pod of podsIn(of(name))) {
        expect(pod).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
        expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
        const mounted = new Set<string>();
        for (const { securityContext, volumeMounts, resources, env } of containersOf(pod)) {
          expect(securityContext).toEqual({
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
          expect(Object.keys(resources.requests)).toEqual(RESOURCES);
          expect(Object.keys(resources.limits)).toEqual(expect.arrayContaining(RESOURCES));
          for (const mount of volumeMounts) mounted.add(mount.name);
          const writable = volumeMounts.filter(({ readOnly }) => !readOnly).map(({ mountPath }) => mountPath);
          const cache = env?.find((variable) => variable.name === 'XDG_CACHE_HOME')?.value;
          expect(writable).toEqual(expect.arrayContaining(['/tmp', cache]));
        }
        expect([...mounted].toSorted()).toEqual(pod.volumes.map((volume) => volume.name).toSorted());
      }
    });

    it('sets variables that the service takes, as a whole', () => {
      const known = new Set(settings().map(({ env }) => env));
      const aliases = ['WINNOW_MODELS'];
      for (const { env = [], volumeMounts } of podsIn(of(name)).flatMap(containersOf)) {
        const own = env.map((variable) => variable.name).filter((variable) => variable.startsWith('WINNOW_'));
        expect(own.filter((variable) => !known.has(variable) && !aliases.includes(variable))).toEqual([]);
        const given = env.flatMap(({ name: variable, value }) => {
          if (value === undefined) return [];
          if (!value.startsWith('/')) return [[variable, value]];
          expect(volumeMounts.some(({ mountPath }) => value.startsWith(mountPath))).toBe(true);
          return [[variable, join(ROOT, variable.endsWith('_FILE') ? 'package.json' : 'models')]];
        });
        expect(() => loadConfig([], { ...settingsIn(of(name)), ...Object.fromEntries(given) })).not.toThrow();
      }
    });

    it('runs one image, which the Dockerfile has a target for', () => {
      const images = new Set(
        podsIn(of(name))
          .flatMap(containersOf)
          .map(({ image }) => image),
      );
      expect(images.size).toBe(1);
      const [, target] = [...images][0]!.split(':');
      const targets = readFileSync(join(ROOT, 'Dockerfile'), 'utf8');
      if (target === undefined) expect(name).toMatch(/^base/);
      else expect(targets).toMatch(new RegExp(`^FROM .+ AS ${target}$`, 'm'));
    });

    it('leaves the number of pods to an autoscaler, if it has one', () => {
      const scalers = of(name).filter(({ kind }) => AUTOSCALERS.includes(kind));
      expect(scalers.length).toBeLessThanOrEqual(1);
      if (scalers.length > 0) expect(ofKind(of(name), 'Deployment')[0]?.spec).not.toHaveProperty('replicas');
    });

    it('has selectors that select its pods and its Service', () => {
      const policies = ofKind(of(name), 'NetworkPolicy');
      // A component's rules for servers say nothing of jobs.
      const own = name.startsWith('jobs/')
        ? policies.filter(({ metadata }) => !/-openshift$/.test(metadata.name))
        : policies;
      expect(own).not.toHaveLength(0);
      for (const { spec } of own) expect(podLabels(of(name))).toMatchObject(Object(spec).podSelector.matchLabels);
      const [service] = ofKind(of(name), 'Service');
      const servicePorts = Object(service?.spec).ports?.map((port: { name: string }) => port.name);
      for (const { spec } of ofKind(of(name), 'ServiceMonitor')) {
        expect(service?.metadata.labels).toMatchObject(Object(spec).selector.matchLabels);
        for (const { port } of Object(spec).endpoints) expect(servicePorts).toContain(port);
      }
      const podPorts = podsIn(of(name)).flatMap(({ containers }) => Object(containers[0]).ports ?? []);
      for (const { targetPort } of Object(service?.spec).ports ?? [])
        expect(podPorts).toContainEqual(expect.objectContaining({ name: targetPort }));
    });

    it('is valid by the schemas of its kinds', () => {
      for (const manifest of of(name)) if (hasSchema(manifest)) checkValues(manifest);
    });
  });

  it('has no field the API does not know', async () => {
    const all = [...rendered.values()].flat().filter(hasSchema);
    const distinct = [...new Map(all.map((manifest) => [JSON.stringify(manifest), manifest])).values()];
    expect(await unknownFields(distinct)).toEqual([]);
  });

  it.each(['base', 'overlays/cpu', 'overlays/cuda'])('%s needs no kind that a bare cluster lacks', (name) => {
    expect(of(name).filter(({ apiVersion }) => !BUILT_IN.includes(String(apiVersion)))).toEqual([]);
    expect(of(name).some(({ kind }) => AUTOSCALERS.includes(kind))).toBe(false);
  });

  it('docs/deployment.md shows what applying overlays/cpu prints', () => {
    const page = readFileSync(join(ROOT, 'docs/deployment.md'), 'utf8');
    const [, block] = /apply -k k8s\/overlays\/cpu\n```\n\n```text\n([\s\S]*?)```/.exec(page)!;
    const printed = of('overlays/cpu').map(({ apiVersion, kind, metadata }) => {
      const [group, version] = String(apiVersion).split('/');
      const type = version === undefined ? kind : `${kind}.${group}`;
      return `${type.toLowerCase()}/${metadata.name.replace(/^(winnow-settings-).*/, '$1…')} created\n`;
    });
    expect(block).toBe(printed.join(''));
  });

  it('the gpu component turns the CPU overlay into one for a GPU', () => {
    const manifests = of('overlays/cpu + components/gpu');
    const [container] = podsIn(manifests)[0]!.containers;
    expect(container).toMatchObject({ image: 'winnow:cuda', resources: { limits: { 'nvidia.com/gpu': '1' } } });
    expect(settingsIn(manifests).WINNOW_INFERENCE_PROVIDER).toBe('cuda');
    expect(JSON.stringify(of('overlays/cpu'))).not.toContain('nvidia');
  });

  it.each(RENDERINGS.filter(({ components }) => components.includes('components/openshift')))(
    '$name leaves user and group to the cluster',
    ({ name }) => {
      for (const { securityContext } of podsIn(of(name)))
        expect(securityContext).toEqual({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    },
  );

  it.each(['models-pull', 'models-pvc', 'models-image'])('%s serves models from a folder that is mounted', (name) => {
    const [server] = podsIn(of(`overlays/cpu + components/${name}`))[0]!.containers;
    const folder = server!.env!.find((variable) => variable.name === 'WINNOW_MODELS')!.value!;
    expect(server!.volumeMounts.some(({ mountPath }) => folder.startsWith(mountPath))).toBe(true);
  });

  it('models-pull writes where the server reads', () => {
    const pod = podsIn(of('overlays/cpu + components/models-pull'))[0]!;
    const folderIn = (container: Container | undefined) =>
      container?.env?.find((variable) => variable.name === 'WINNOW_MODELS')?.value;
    expect(folderIn(pod.initContainers?.[0])).toBe(folderIn(pod.containers[0]));
  });
});

describe.skipIf(!hasKubectl())('the overlay of docs/deployment.md (needs kubectl)', () => {
  it('has the number of pods, image, setting and Secret it names, and what the component needs', () => {
    const page = readFileSync(join(ROOT, 'docs/deployment.md'), 'utf8');
    const [, text] = /^```yaml\n# my-overlay\/kustomization.yaml\n([\s\S]*?)^```/m.exec(page)!;
    const copy = copyManifests(K8S);
    try {
      const manifests = manifestsOf(copy.renderText(text!, { 'keys.yaml': 'keys: []\n' }));
      const [deployment] = ofKind(manifests, 'Deployment');
      expect(deployment?.spec).toMatchObject({ replicas: 3 });
      const [pod] = podsIn(manifests);
      expect(pod!.containers[0]!.image).toBe('registry.example.org/winnow:0.1.0');
      expect(settingsIn(manifests)).toMatchObject({
        WINNOW_SCHEDULING_MAX_WAIT_MS: '2000',
        WINNOW_INFERENCE_PROVIDER: 'cpu',
      });
      const [secret] = ofKind(manifests, 'Secret');
      expect(pod!.volumes).toContainEqual(
        expect.objectContaining({ secret: expect.objectContaining({ secretName: secret!.metadata.name }) }),
      );
    } finally {
      copy.remove();
    }
  });
});

describe('k8s/', () => {
  it('a misspelt setting of a ConfigMap is a fault', () => {
    expect(() => loadConfig([], { WINNOW_SERVER_PRT: '8080' })).toThrow(/WINNOW_SERVER_PRT/);
  });

  it('docs/deployment.md names every overlay, component and job', () => {
    const page = readFileSync(join(ROOT, 'docs/deployment.md'), 'utf8');
    const names = RENDERINGS.flatMap(({ folder, components }) => [folder, ...components]);
    expect([...new Set(names)].filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it('the dashboards of the monitoring component are those of docs/dashboards', () => {
    const read = (folder: string) =>
      readdirSync(join(ROOT, folder))
        .filter((name) => name.endsWith('.json'))
        .toSorted()
        .map((name) => [name, readFileSync(join(ROOT, folder, name), 'utf8')]);
    expect(read('k8s/components/monitoring')).toEqual(read('docs/dashboards'));
  });
});
