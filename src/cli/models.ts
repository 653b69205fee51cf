import { Command, Option } from 'commander';
import { WinnowError } from '../errors.ts';
import type { ProviderSetting } from '../inference/inference-types.ts';
import { importFolder, verifyFolder } from '../registry/import-version.ts';
import { parseReference } from '../registry/model-names.ts';
import type { Published } from '../registry/publish-version.ts';
import { type PullOptions, pull } from '../registry/pull.ts';
import { readCatalog } from '../registry/registry-catalog.ts';
import { relabel } from '../registry/relabel.ts';
import { type SurveyRow, surveyRegistry } from '../registry/survey.ts';
import type { AdmissionDeps } from '../registry/version-admission.ts';
import type { VariantPreference } from '../registry/version-variants.ts';
import { choiceOption, modelsOption, providerOption } from './options.ts';

interface Common {
  readonly models: string;
  readonly json?: boolean;
}

interface Engine extends Common {
  readonly provider: ProviderSetting;
  readonly variant?: VariantPreference;
}

const print = (text: string) => process.stdout.write(`${text}\n`);

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((h, c) => Math.max(h.length, ...rows.map((row) => row[c]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, c) => cell.padEnd(widths[c]!))
      .join('  ')
      .trimEnd();
  return [head, ...rows].map(line).join('\n');
}

const mebibytes = (bytes: number | undefined) => (bytes === undefined ? '' : (bytes / 1_048_576).toFixed(1));

function row(version: SurveyRow): readonly string[] {
  return [
    version.name,
    version.version,
    version.labels.join(','),
    version.variants?.join(',') ?? '',
    String(version.maxLength ?? ''),
    version.activation ?? '',
    mebibytes(version.bytes),
    version.fault ?? (version.hashed ? 'hashed' : 'adopted'),
  ];
}

async function list({ models, json }: Common): Promise<void> {
  const rows = await surveyRegistry(models);
  const head = ['MODEL', 'VERSION', 'LABELS', 'VARIANTS', 'LENGTH', 'ACTIVATION', 'MiB', 'STATE'];
  print(json ? JSON.stringify(rows, null, 2) : table(head, rows.map(row)));
}

/** Runs `work` with real hosts and tokenizers, loaded only by the commands that need them, and closes them. */
async function withEngine<T>(options: Engine, work: (deps: AdmissionDeps) => Promise<T>): Promise<T> {
  const { createHostPool } = await import('../inference/host-pool.ts');
  const { createLocalTokenizer } = await import('../tokenization/local.ts');
  const pool = await createHostPool({ provider: options.provider, hosts: 1 });
  try {
    const tokenizers = { for: (folder: string) => createLocalTokenizer(folder) };
    return await work({ pool, tokenizers, variant: options.variant ?? 'auto' });
  } finally {
    await pool.close();
  }
}

async function versionsNamed(folder: string, reference: string | undefined) {
  const { models } = await readCatalog(folder);
  const all = models.flatMap((m) => m.versions.map((disk) => ({ name: m.name, disk, labels: m.labels })));
  if (reference === undefined) return all;
  const wanted = parseReference(reference);
  const found = all.filter(
    ({ name, disk, labels }) =>
      name === wanted?.name &&
      (wanted.version === undefined || disk.version === wanted.version) &&
      (wanted.label === undefined || labels?.get(wanted.label) === disk.version),
  );
  if (found.length > 0) return found;
  const known = models.map((m) => m.name).join(', ') || 'no model';
  throw new WinnowError('unknown_model', { known, got: reference });
}

async function verify(reference: string | undefined, options: Engine): Promise<void> {
  const versions = await versionsNamed(options.models, reference);
  const results = await withEngine(options, async (deps) => {
    const seen = [];
    for (const { name, disk } of versions) {
      const version = disk.version;
      const outcome = await verifyFolder(disk.folder, deps, disk.skip).then(
        ({ inspected, results: proved }) => ({
          admitted: true,
          variants: proved.map((p) => p.variant),
          hashed: inspected.version.manifest?.files !== undefined,
        }),
        (error: Error) => ({ admitted: false, reason: error.message }),
      );
      seen.push({ name, version, ...outcome });
      if (!options.json)
        print(
          'reason' in outcome
            ? `${name}@${version}: refused: ${outcome.reason}`
            : `${name}@${version}: admitted (${outcome.variants.join(', ')}${outcome.hashed ? '' : '; no hashes'})`,
        );
    }
    return seen;
  });
  if (options.json) print(JSON.stringify(results, null, 2));
  if (results.some((r) => !r.admitted)) process.exitCode = 1;
}

function printPublished({ name, version, folder }: Published, { json }: Common, label: string | undefined): void {
  const shown = label === undefined ? '' : `, ${label} → ${version}`;
  print(json ? JSON.stringify({ name, version, folder, label }) : `${name}@${version} in ${folder}${shown}`);
}

const jsonOption = () => new Option('--json', 'print JSON');

function listCommand(): Command {
  return new Command('list')
    .description('List the versions of a registry folder, without loading any.')
    .addOption(modelsOption())
    .addOption(jsonOption())
    .action(list);
}

function verifyCommand(): Command {
  return new Command('verify')
    .description('Run versions through full admission: hashes, paths, graph, self-test on a real host.')
    .argument('[reference]', 'model, model@version or model:label; everything if absent')
    .addOption(modelsOption())
    .addOption(providerOption('cpu'))
    .addOption(choiceOption('--variant <variant>', 'only this one', ['auto', 'fp32', 'fp16', 'int8']))
    .addOption(jsonOption())
    .action(verify);
}

function labelCommand(): Command {
  return new Command('label')
    .description('Point a label of a model to a version; a running server follows.')
    .argument('<model>')
    .argument('<label>', 'stable serves requests without a version')
    .argument('<version>')
    .addOption(modelsOption())
    .action(async (model: string, label: string, version: string, { models }: Common) => {
      await relabel(models, model, label, version);
      print(`${model}: ${label} → ${version}`);
    });
}

function importCommand(): Command {
  return new Command('import')
    .description('Copy a Hugging Face export (ONNX) into the registry as the next version of a model.')
    .argument('<folder>')
    .argument('<model>', 'name in the registry')
    .addOption(modelsOption())
    .addOption(providerOption('cpu'))
    .option('--label <label>', 'label that points to it afterwards')
    .addOption(jsonOption())
    .action(async (folder: string, model: string, options: Engine & { label?: string }) => {
      const { label } = options;
      const done = await withEngine(options, (deps) => importFolder(folder, options.models, model, deps, { label }));
      printPublished(done, options, label);
    });
}

function pullCommand(): Command {
  return new Command('pull')
    .description('Download a model from the Hugging Face hub into the registry.')
    .argument('<repository>', 'ORGANIZATION/MODEL')
    .option('--revision <revision>', 'branch, tag or commit', 'main')
    .addOption(choiceOption('--variant <variant>', 'ONNX file', ['auto', 'all', 'fp32', 'fp16', 'int8'], 'auto'))
    .option('--name <name>', 'name in the registry; the repository’s without its owner if absent')
    .option('--label <label>', 'label that points to it afterwards')
    .option('--endpoint <url>', 'another server laid out like the hub (or HF_ENDPOINT)')
    .addOption(modelsOption())
    .addOption(providerOption('cpu'))
    .addOption(jsonOption())
    .action(async (repository: string, { variant, ...options }: Omit<Engine, 'variant'> & PullOptions) => {
      const wanted = { ...options, ...(variant === undefined ? {} : { variant }) };
      const done = await withEngine(options, (deps) => pull(repository, options.models, deps, wanted));
      printPublished(done, options, options.label);
    });
}

const EXAMPLES = `
Examples:
  $ npx winnow models list
  $ npx winnow models verify minilm-l6-infonce
  $ npx winnow models import ./my-export my-model --label canary
  $ npx winnow models label my-model stable 2
  $ npx winnow models pull cross-encoder/ms-marco-MiniLM-L6-v2 --variant fp32
`;

/** `winnow models …`: look after a registry folder. */
export function command(): Command {
  return new Command('models')
    .description('List, verify, label, import and pull the models of a registry folder.')
    .addCommand(listCommand())
    .addCommand(verifyCommand())
    .addCommand(labelCommand())
    .addCommand(importCommand())
    .addCommand(pullCommand())
    .addHelpText('after', EXAMPLES);
}
