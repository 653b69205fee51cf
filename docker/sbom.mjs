// Writes what the image contains as a CycloneDX document (npm sbom), the same bytes for the same modules.
// node docker/sbom.mjs FILE
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const [file] = process.argv.slice(2);
if (file === undefined) {
  console.error('expected a file to write to, got none: node docker/sbom.mjs FILE');
  process.exit(2);
}

const options = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'];
const document = JSON.parse(execFileSync('npm', options, { encoding: 'utf8', maxBuffer: 64e6 }));
// `--omit dev` would leave out the modules of the service that modules for development need too (npm 11), and where a version is installed several
// times, npm lists it once, with the properties of one place. The lock file tells each place.
const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const served = new Set(
  Object.entries(packages)
    .filter(([path, { dev }]) => path && !dev)
    .map(([path, { name, version }]) => `${name ?? path.split('node_modules/').at(-1)}@${version}`),
);
const left = document.components
  .filter(({ group, name, version }) => served.has(`${group ? `${group}/` : ''}${name}@${version}`))
  .map((component) => {
    const properties = component.properties.filter(({ name }) => name !== 'cdx:npm:package:development');
    return properties.length < component.properties.length ? { ...component, scope: 'required', properties } : component;
  });
const names = new Set([document.metadata.component, ...left].map((component) => component['bom-ref']));
document.components = left;
document.dependencies = document.dependencies
  .filter(({ ref }) => names.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((name) => names.has(name)) }));
// npm puts the time of the call and a random number there; they would make every image another one.
delete document.serialNumber;
const seconds = Number(process.env.SOURCE_DATE_EPOCH || 0);
document.metadata.timestamp = new Date(seconds * 1000).toISOString();
const digest = createHash('sha256').update(JSON.stringify(document)).digest('hex');
document.serialNumber = `urn:uuid:${digest.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-8$3-8$4-$5')}`;
writeFileSync(file, `${JSON.stringify(document, undefined, 2)}\n`);
console.log(`${document.components.length} components in ${file}`);
