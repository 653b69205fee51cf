import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Architecture, baseImage } from './base.ts';
import { buildah, run } from './tools.ts';

export interface Built {
  readonly image: string;
  readonly seconds: number;
  /** Digest of the image's manifest: the same bytes give the same one. */
  readonly digest: string;
  /** Compressed sizes in bytes, from the base on. */
  readonly layers: readonly number[];
}

export interface BuildOptions {
  readonly root: string;
  readonly target: string;
  /** An image to build on; without, one is made that stands in for it. */
  readonly base?: string | undefined;
  readonly fromCache: boolean;
}

const OWN: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** Files of this machine that tell npm where packages are and whom to trust. A machine without them needs none. */
function npmFiles(): string[] {
  const { NODE_EXTRA_CA_CERTS } = process.env;
  const prefix = run('npm', ['prefix', '--global']).trim();
  const wanted: [string, string][] = [
    [join(process.env.HOME ?? '/root', '.npmrc'), '/root/.npmrc'],
    [join(prefix, 'etc/npmrc'), '/usr/local/etc/npmrc'],
  ];
  const trusted = '/etc/ssl/certs/ca-certificates.crt';
  if (NODE_EXTRA_CA_CERTS) wanted.push([NODE_EXTRA_CA_CERTS, trusted]);
  return wanted.flatMap(([from, to]) => (existsSync(from) ? ['--volume', `${from}:${to}:ro`] : []));
}

/** Builds a target of the Dockerfile for this processor. @throws Error with the builder's last lines. */
export function build({ root, target, base, fromCache }: BuildOptions): Built {
  const image = `localhost/winnow:${target}-${OWN}`;
  const epoch = run('git', ['log', '-1', '--format=%ct'], { cwd: root }).trim();
  const begin = performance.now();
  const args = [
    ...['bud', '--isolation', 'chroot', '--format', 'docker', '--target', target, '--pull-never'],
    ...['--build-arg', `NODE_IMAGE=${base ?? baseImage(OWN, root)}`],
    ...['--build-arg', `REVISION=${run('git', ['rev-parse', 'HEAD'], { cwd: root }).trim()}`],
    ...['--timestamp', epoch, '--build-arg', `SOURCE_DATE_EPOCH=${epoch}`],
    ...(fromCache ? ['--layers'] : ['--no-cache', '--layers=false']),
    ...npmFiles(),
    ...['--tag', image, root],
  ];
  buildah(...args);
  return { image, seconds: (performance.now() - begin) / 1000, ...contentsOf(image) };
}

/** Writes the image as an OCI layout, compressed as a registry keeps it, and reads its manifest. */
function contentsOf(image: string): Pick<Built, 'digest' | 'layers'> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-oci-'));
  try {
    buildah('push', '--quiet', image, `oci:${folder}:image`);
    const blob = (digest: string) => JSON.parse(readFileSync(join(folder, 'blobs', digest.replace(':', '/')), 'utf8'));
    const [{ digest }] = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')).manifests;
    const layers = blob(digest).layers.map(({ size }: { size: number }) => size);
    return { digest, layers };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
