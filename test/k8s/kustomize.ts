import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

/*
 * As much of kustomize as k8s/ uses: resources, components, images, generated ConfigMaps, labels, strategic merge patches. Where kubectl is at hand
 * the tests hold its output to kubectl's, hash suffix of the ConfigMap's name aside.
 */

export type Manifest = Record<string, unknown> & {
  readonly kind: string;
  readonly metadata: { name: string; labels?: Record<string, string> };
};
type Node = Record<string, unknown>;

interface Kustomization {
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly labels?: readonly { readonly pairs: Record<string, string> }[];
  readonly images?: readonly { readonly name: string; readonly newName: string; readonly newTag: string }[];
  readonly configMapGenerator?: readonly {
    readonly name: string;
    readonly behavior?: 'merge';
    readonly envs?: readonly string[];
    readonly literals?: readonly string[];
  }[];
  readonly patches?: readonly {
    readonly path: string;
    readonly target: { readonly kind: string; readonly name: string };
  }[];
}

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Lists whose items strategic merge matches by a field; other lists are replaced. */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  containers: 'name',
  env: 'name',
  volumes: 'name',
  volumeMounts: 'mountPath',
};

/** The list merged: new items go to the front, as kubectl puts them. */
function mergeList(base: readonly unknown[], patch: readonly unknown[], key: string): unknown[] {
  const keyOf = (item: unknown) => (item as Node)[key];
  const merged = base.map((item) => {
    const change = patch.find((p) => keyOf(p) === keyOf(item));
    return change ? merge(item, change) : item;
  });
  return [...patch.filter((p) => !base.some((b) => keyOf(b) === keyOf(p))), ...merged];
}

function merge(base: unknown, patch: unknown, field = ''): unknown {
  const key = MERGE_KEYS[field];
  if (key && Array.isArray(base) && Array.isArray(patch)) return mergeList(base, patch, key);
  if (!isNode(base) || !isNode(patch)) return patch;
  const result: Node = { ...base };
  for (const [name, value] of Object.entries(patch)) result[name] = merge(base[name], value, name);
  return result;
}

function settingsOf(folder: string, generator: NonNullable<Kustomization['configMapGenerator']>[number]) {
  const lines = [
    ...(generator.envs ?? []).flatMap((file) => readFileSync(join(folder, file), 'utf8').split('\n')),
    ...(generator.literals ?? []),
  ];
  return Object.fromEntries(lines.filter((l) => l && !l.startsWith('#')).map((l) => l.split(/=(.*)/s).slice(0, 2)));
}

function generate(all: readonly Manifest[], folder: string, kustomization: Kustomization): Manifest[] {
  let result = [...all];
  for (const generator of kustomization.configMapGenerator ?? []) {
    const data = settingsOf(folder, generator);
    const old = result.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === generator.name);
    if (generator.behavior === 'merge') {
      if (!old) throw new Error(`${folder}: nothing to merge ${generator.name} into`);
      result = result.map((m) => (m === old ? { ...old, data: { ...(old.data as Node), ...data } } : m));
    } else result.push({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: generator.name }, data });
  }
  return result;
}

function patchAll(all: readonly Manifest[], folder: string, kustomization: Kustomization): Manifest[] {
  let result = [...all];
  for (const { path, target } of kustomization.patches ?? []) {
    const hits = result.filter((m) => m.kind === target.kind && m.metadata.name === target.name);
    if (hits.length === 0) throw new Error(`${folder}/${path}: no ${target.kind} ${target.name} to patch`);
    const patch = parse(readFileSync(join(folder, path), 'utf8'));
    result = result.map((m) => (hits.includes(m) ? (merge(m, patch) as Manifest) : m));
  }
  return result;
}

function label(manifest: Manifest, pairs: Record<string, string>): Manifest {
  const metadata = { ...manifest.metadata, labels: { ...manifest.metadata.labels, ...pairs } };
  const spec = manifest.spec as Node | undefined;
  const template = spec?.template as { metadata?: Node } | undefined;
  if (manifest.kind === 'Service')
    return { ...manifest, metadata, spec: { ...spec, selector: { ...(spec?.selector as Node), ...pairs } } };
  if (!template) return { ...manifest, metadata };
  const inner = { ...template.metadata, labels: { ...(template.metadata?.labels as Node), ...pairs } };
  return { ...manifest, metadata, spec: { ...spec, template: { ...template, metadata: inner } } };
}

function setImages(manifest: Manifest, images: NonNullable<Kustomization['images']>): Manifest {
  const replaced = JSON.stringify(manifest).replaceAll(/"image":"([^"]+)"/g, (whole, name: string) => {
    const image = images.find((i) => i.name === name);
    return image ? `"image":"${image.newName}:${image.newTag}"` : whole;
  });
  return JSON.parse(replaced);
}

/** All manifests a kustomization folder gives. */
export function kustomize(folder: string, given: readonly Manifest[] = []): Manifest[] {
  const kustomization: Kustomization = parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8'));
  let all = [...given];
  for (const resource of kustomization.resources ?? []) {
    const path = join(folder, resource);
    all.push(...(/\.ya?ml$/.test(resource) ? [parse(readFileSync(path, 'utf8')) as Manifest] : kustomize(path)));
  }
  all = generate(all, folder, kustomization);
  for (const component of kustomization.components ?? []) all = kustomize(join(folder, component), all);
  all = patchAll(all, folder, kustomization);
  for (const { pairs } of kustomization.labels ?? []) all = all.map((m) => label(m, pairs));
  return all.map((m) => setImages(m, kustomization.images ?? []));
}

/** Cuts the suffix kustomize gives to a generated ConfigMap's name, so that two renderings compare. */
export function withoutSuffix(manifests: readonly Manifest[]): Manifest[] {
  const names = manifests.filter((m) => m.kind === 'ConfigMap').map((m) => m.metadata.name);
  let text = JSON.stringify(manifests);
  for (const name of names) text = text.replaceAll(`"${name}"`, `"${name.replace(/-[a-z0-9]{10}$/, '')}"`);
  return JSON.parse(text);
}

/** A digest that does not depend on the order of keys or manifests. */
export function canonical(manifests: readonly Manifest[]): Manifest[] {
  const sortKeys = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(sortKeys)
      : isNode(value)
        ? Object.fromEntries(
            Object.keys(value)
              .toSorted()
              .map((key) => [key, sortKeys(value[key])]),
          )
        : value;
  const digest = (m: Manifest) => createHash('sha256').update(`${m.kind}/${m.metadata.name}`).digest('hex');
  return manifests.map((m) => sortKeys(m) as Manifest).toSorted((a, b) => digest(a).localeCompare(digest(b)));
}
