import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Architecture, baseImage, OWN } from './base.ts';
import { buildah, run, withFiles } from './tools.ts';

export interface Layer {
  /** The instruction that made it. */
  readonly by: string;
  /** Compressed, in bytes. */
  readonly bytes: number;
}

export interface Built {
  readonly architecture: Architecture;
  readonly image: string;
  readonly seconds: number;
  /** Digest of the image's manifest: the same bytes give the same one. */
  readonly digest: string;
  /** From the base on. */
  readonly layers: readonly Layer[];
}

export interface BuildOptions {
  readonly root: string;
  readonly target: string;
  readonly architecture: Architecture;
  /** An image to build on; without, one is made that stands in for it. */
  readonly base?: string | undefined;
  /** With layers of earlier builds, one layer an instruction; else anew, in one layer, the same bytes for the same sources. */
  readonly fromCache: boolean;
}

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

/** The stage whose files the images for processors take. */
const FILES = 'files-cpu';

/** Runs the Dockerfile's `target`. The times of files are that of the last commit. */
function bud({ root, fromCache }: BuildOptions, target: string, image: string, ...args: string[]): void {
  const epoch = run('git', ['log', '-1', '--format=%ct'], { cwd: root }).trim();
  buildah(
    ...['bud', '--isolation', 'chroot', '--format', 'docker', '--pull-never', '--target', target],
    ...['--build-arg', `REVISION=${run('git', ['rev-parse', 'HEAD'], { cwd: root }).trim()}`],
    ...['--timestamp', epoch, '--build-arg', `SOURCE_DATE_EPOCH=${epoch}`],
    // With layers, buildah writes ids of intermediate images into the history, and takes times of files from its cache: other bytes each time.
    ...(fromCache ? ['--layers'] : ['--no-cache', '--layers=false']),
    ...args,
    ...npmFiles(),
    ...['--tag', image, root],
  );
}

/**
 * Builds for another processor in two runs: its files in a stage of this machine, then the stages on its base, which get those files as a named
 * context. One run with `--platform` is for builders that keep the platforms of stages apart; buildah 1.28 does not
 * (https://github.com/containers/buildah/issues/4721).
 */
function budForeign(options: BuildOptions, image: string): void {
  const { architecture, root, target, base } = options;
  const files = `localhost/winnow:${FILES}-${architecture}`;
  bud(
    options,
    FILES,
    files,
    '--build-arg',
    `NODE_IMAGE=${baseImage(OWN, root)}`,
    '--build-arg',
    `TARGETARCH=${architecture}`,
  );
  withFiles(files, (folder) =>
    bud(
      options,
      target,
      image,
      ...['--platform', `linux/${architecture}`, '--build-context', `${FILES}=${folder}`],
      ...['--build-arg', `NODE_IMAGE=${base ?? baseImage(architecture, root)}`],
    ),
  );
  buildah('rmi', files);
}

/** Builds a target of the Dockerfile. @throws Error with the builder's last lines. */
export function build(options: BuildOptions): Built {
  const { architecture, root, target, base } = options;
  const image = `localhost/winnow:${target}-${architecture}`;
  const begin = performance.now();
  if (architecture === OWN) bud(options, target, image, '--build-arg', `NODE_IMAGE=${base ?? baseImage(OWN, root)}`);
  else budForeign(options, image);
  return { architecture, image, seconds: (performance.now() - begin) / 1000, ...contentsOf(image) };
}

interface History {
  readonly created_by: string;
  readonly empty_layer?: boolean;
}

/** The instruction of a line of buildah's history, without the digest of what was copied. */
const instruction = (line: string): string =>
  line.startsWith('/bin/sh -c #(nop)') ? line.replace(/^.*#\(nop\) +(\w+) (?:\w+:\w+ in )?/, '$1 ').trim() : 'base';

/** Writes the image as an OCI layout, compressed as a registry keeps it, and reads its manifest. */
function contentsOf(image: string): Pick<Built, 'digest' | 'layers'> {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-oci-'));
  try {
    buildah('push', '--quiet', image, `oci:${folder}:image`);
    const blob = (digest: string) => JSON.parse(readFileSync(join(folder, 'blobs', digest.replace(':', '/')), 'utf8'));
    const [{ digest }] = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')).manifests;
    const { layers, config } = blob(digest);
    const history: History[] = blob(config.digest).history;
    const made = history.filter((entry) => !entry.empty_layer);
    const bytesOf = layers.map(({ size }: { size: number }) => size) as number[];
    return { digest, layers: bytesOf.map((bytes, at) => ({ by: instruction(made[at]?.created_by ?? ''), bytes })) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Removes images of earlier builds that have no name any more, except those that another run uses. */
export function removeLeftovers(): void {
  try {
    buildah('rmi', '--prune');
  } catch {
    // A later run removes them.
  }
}
