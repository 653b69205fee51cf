import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Built } from './build.ts';
import { configOf } from './container.ts';
import type { Result } from './result.ts';
import { megabytes, withFiles } from './tools.ts';

/** Largest compressed size of an image without models, in bytes. */
const MOST_BYTES = 160e6;

/** Names and versions of the packages below a folder, as npm writes them. */
function packagesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => /(^|\/)node_modules\/(@[^/]+\/)?[^/]+\/package\.json$/.test(path))
    .map((path) => {
      const { name, version } = JSON.parse(readFileSync(join(folder, path), 'utf8'));
      return `${name}@${version}`;
    });
}

interface Component {
  readonly group?: string;
  readonly name: string;
  readonly version: string;
}

/** Compares the list of modules in the image with its modules. */
function listResult(app: string): Result {
  const { components } = JSON.parse(readFileSync(join(app, 'sbom.cdx.json'), 'utf8'));
  const listed = new Set(
    (components as Component[]).map(({ group, name, version }) => `${group ? `${group}/` : ''}${name}@${version}`),
  );
  const there = new Set(packagesBelow(app));
  const unlisted = [...there].filter((name) => !listed.has(name));
  const absent = [...listed].filter((name) => !there.has(name));
  return {
    claim: 'the list of modules (CycloneDX) names what is in the image, no more',
    seen: `${there.size} packages; not listed: ${unlisted.join(', ') || 'none'}; not there: ${absent.join(', ') || 'none'}`,
    passed: there.size > 0 && unlisted.length === 0 && absent.length === 0,
  };
}

function licenseResult(app: string, files: readonly string[]): Result {
  const texts = files.filter((file) => /(^|\/)(licen[cs]e|copying)[^/]*$/i.test(file));
  return {
    claim: 'license texts are kept',
    seen: `${texts.length} texts`,
    passed: texts.length > 100 && existsSync(join(app, 'LICENSE')),
  };
}

/** Checks what an image holds and says of itself. */
export function contents({ architecture, image, layers }: Built, isOwn: boolean): Result[] {
  const size = layers.reduce((sum, { bytes }) => sum + bytes, 0);
  const { Labels, User } = configOf(image);
  return withFiles(image, (folder) => {
    const app = join(folder, 'app');
    const files = readdirSync(app, { recursive: true, encoding: 'utf8' });
    const unwanted = files.filter((file) =>
      /\.map$|(^|\/)(sharp|@img)\/|onnxruntime-web|\/(darwin|win32)\//.test(file),
    );
    const engines = readdirSync(join(app, 'node_modules/onnxruntime-node/bin/napi-v6/linux'));
    const compiled = readdirSync(join(app, 'compile-cache')).length;
    const wanted = architecture === 'arm64' ? 'arm64' : 'x64';
    return [
      { claim: 'less than 160 MB compressed, without models', seen: megabytes(size), passed: size < MOST_BYTES },
      { claim: 'runs as user 1000 of group 0', seen: User, passed: User === '1000:0' },
      {
        claim: 'labels name version, license and revision',
        seen: JSON.stringify(Labels),
        passed: ['version', 'licenses', 'revision'].every((name) => Labels[`org.opencontainers.image.${name}`]),
      },
      { claim: 'no maps, no image library', seen: unwanted.join(', ') || 'none', passed: unwanted.length === 0 },
      { claim: 'the engine of its architecture alone', seen: engines.join(), passed: engines.join() === wanted },
      licenseResult(app, files),
      listResult(app),
      {
        claim: isOwn ? 'compiled code of its modules' : 'no compiled code (V8 reads only its own architecture)',
        seen: `${compiled} modules`,
        passed: isOwn ? compiled > 300 : compiled === 0,
      },
    ];
  });
}
