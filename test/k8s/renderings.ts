import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import type { Manifest } from './kustomize.ts';

/** What a user applies: a folder as it is, or one with components added. */
export interface Rendering {
  /** Such as `overlays/cpu + components/gpu`. */
  readonly name: string;
  /** Below k8s/. */
  readonly folder: string;
  readonly components: readonly string[];
}

/** A copy of k8s/ alone: what a rendering needs from anywhere else is missing there. */
export interface Copy {
  /** Returns what plain `kubectl kustomize` prints. @throws Error with its message. */
  render(rendering: Rendering): string;
  /** The same of a kustomization in a folder beside k8s/. @param files Contents by name. */
  renderText(kustomization: string, files?: Readonly<Record<string, string>>): string;
  remove(): void;
}

const foldersIn = (k8s: string, kind: string): string[] =>
  readdirSync(join(k8s, kind))
    .filter((name) => existsSync(join(k8s, kind, name, 'kustomization.yaml')))
    .map((name) => `${kind}/${name}`);

const rendering = (folder: string, components: readonly string[] = []): Rendering => ({
  name: [folder, ...components].join(' + '),
  folder,
  components,
});

/** Components that exclude no other one. */
const TOGETHER = ['monitoring', 'autoscaling', 'experiments-postgres', 'api-keys', 'ingress'];

/** Returns every overlay and job, every component on base and on overlays/cpu, and combinations as a cluster has them. */
export function allRenderings(k8s: string): Rendering[] {
  const components = foldersIn(k8s, 'components');
  const together = (...others: string[]) =>
    [...TOGETHER, ...others].map((name) => `components/${name}`).filter((folder) => components.includes(folder));
  const jobs = foldersIn(k8s, 'jobs');
  return [
    rendering('base'),
    ...foldersIn(k8s, 'overlays').map((folder) => rendering(folder)),
    ...jobs.map((folder) => rendering(folder)),
    ...jobs.map((folder) => rendering(folder, ['components/openshift'])),
    ...['base', 'overlays/cpu'].flatMap((folder) => components.map((component) => rendering(folder, [component]))),
    rendering('overlays/cpu', together('models-pvc')),
    rendering('overlays/cpu', together('gpu', 'models-pull')),
    rendering('overlays/cuda', together('models-image')),
    rendering('overlays/cpu', together('openshift', 'models-pull')),
  ];
}

/** Whether `kubectl` is on this machine. */
export function hasKubectl(): boolean {
  try {
    execFileSync('kubectl', ['version', '--client'], { stdio: 'ignore', timeout: 60_000 });
    return true;
  } catch {
    return false;
  }
}

/** Copies k8s/ to a temporary folder, where combinations are written beside it. */
export function copyManifests(k8s: string): Copy {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'winnow-k8s-')));
  const copy = join(root, 'k8s');
  cpSync(k8s, copy, { recursive: true });
  let made = 0;
  const kubectl = (folder: string): string =>
    execFileSync('kubectl', ['kustomize', folder], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
      maxBuffer: 64e6,
    });
  const renderText: Copy['renderText'] = (kustomization, files = {}) => {
    const folder = join(root, `combined-${made++}`);
    mkdirSync(folder);
    for (const [name, text] of Object.entries({ ...files, 'kustomization.yaml': kustomization }))
      writeFileSync(join(folder, name), text);
    return kubectl(folder);
  };
  return {
    renderText,
    render({ folder, components }) {
      if (components.length === 0) return kubectl(join(copy, folder));
      const kustomization = {
        apiVersion: 'kustomize.config.k8s.io/v1beta1',
        kind: 'Kustomization',
        resources: [`../k8s/${folder}`],
        components: components.map((component) => `../k8s/${component}`),
      };
      return renderText(stringify(kustomization));
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** Parses what `kubectl kustomize` prints. */
export const manifestsOf = (text: string): Manifest[] =>
  parseAllDocuments(text).map((document) => document.toJS() as Manifest);
