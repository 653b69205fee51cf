import { Command, Option } from 'commander';
import type { ProviderSetting } from '../inference/inference-types.ts';
import { checkWeights, withAdmissionTools } from '../main/admission-tools.ts';
import { surveyCascades } from '../main/folder-cascades.ts';
import { type Imported, importFolder } from '../registry/import-version.ts';
import { type PullOptions, pull } from '../registry/pull.ts';
import type { Problem } from '../registry/registry-catalog.ts';
import { relabel } from '../registry/relabel.ts';
import { type SurveyRow, surveyRegistry } from '../registry/survey.ts';
import { type VerifiedVersion, verifyVersions, versionsNamed } from '../registry/verify-versions.ts';
import type { AdmissionDeps } from '../registry/version-admission.ts';
import type { VariantPreference } from '../registry/version-variants.ts';
import type { CascadeStage } from '../rerank/rerank-types.ts';
import { choiceOption, modelsOption, numberOption, providerOption } from './options.ts';
import { plainTable } from './plain-table.ts';
import { type SideFlags, sidesOf, withSideFlags } from './side-flags.ts';

interface Common {
  readonly models: string;
  readonly json?: boolean;
}

interface AdmissionFlags extends Common {
  readonly provider: ProviderSetting;
  readonly variant?: VariantPreference;
}

const print = (text: string) => process.stdout.write(`${text}\n`);

/** Prints faults of a registry folder to standard error, where they do not mix with tables and JSON. */
const warn = (problems: readonly Problem[]) => {
  for (const { where, reason } of problems) process.stderr.write(`${where}: problem: ${reason}\n`);
};

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

/** Writes a cascade as `accurate: e5-small-v2 → best 50 → minilm-l6-bce, blend 0.7`. */
function cascadeText([name, stages]: readonly [string, readonly CascadeStage[]]): string {
  const texts = stages.map(({ model, keep, blend }) => {
    const mixed = blend === undefined ? model : `${model}, blend ${blend}`;
    return keep === undefined ? mixed : `${mixed} → best ${keep}`;
  });
  return `${name}: ${texts.join(' → ')}`;
}

async function list({ models, json }: Common): Promise<void> {
  const { rows, problems } = await surveyRegistry(models);
  const named = await surveyCascades(models, new Set(rows.map(({ name }) => name)));
  const head = ['MODEL', 'VERSION', 'LABELS', 'VARIANTS', 'LENGTH', 'ACTIVATION', 'MiB', 'STATE'];
  print(json ? JSON.stringify(rows, null, 2) : plainTable([head, ...rows.map(row)]));
  const cascades = Object.entries(named.cascades);
  if (!json && cascades.length > 0) print(`\n${cascades.map(cascadeText).join('\n')}`);
  warn([...problems, ...named.problems]);
}

const warningLines = (name: string, version: string, warnings: readonly string[]): readonly string[] =>
  warnings.map((warning) => `${name}@${version}: warning: ${warning}`);

function describeVersion(found: VerifiedVersion): string {
  const { name, version } = found;
  if (!found.admitted) return `${name}@${version}: refused: ${found.reason}`;
  const admitted = `admitted (${found.variants.join(', ')}${found.hashed ? '' : '; no hashes'})`;
  return [`${name}@${version}: ${admitted}`, ...warningLines(name, version, found.warnings)].join('\n');
}

async function verify(reference: string | undefined, options: AdmissionFlags): Promise<void> {
  const { models, json } = options;
  const { versions, problems } = await versionsNamed(models, reference);
  const results: VerifiedVersion[] = [];
  const verifyAll = async (deps: AdmissionDeps) => {
    for await (const found of verifyVersions(versions, deps)) {
      results.push(found);
      if (!json) print(describeVersion(found));
    }
  };
  if (versions.length > 0) await withAdmissionTools(options, verifyAll);
  if (json) print(JSON.stringify(results, null, 2));
  const nothing = { where: models, reason: 'expected versions of models, got none' };
  const names = new Set(versions.map(({ name }) => name));
  const ofCascades = reference === undefined ? (await surveyCascades(models, names)).problems : [];
  const faults = [...problems, ...ofCascades, ...(results.length === 0 ? [nothing] : [])];
  warn(faults);
  if (faults.length > 0 || results.some(({ admitted }) => !admitted)) process.exitCode = 1;
}

function printImported(
  { name, version, folder, warnings }: Imported,
  { json }: Common,
  label: string | undefined,
): void {
  const shown = label === undefined ? '' : `, ${label} → ${version}`;
  const lines = [`${name}@${version} in ${folder}${shown}`, ...warningLines(name, version, warnings)];
  print(json ? JSON.stringify({ name, version, folder, label, warnings }) : lines.join('\n'));
}

const jsonOption = () => new Option('--json', 'print JSON');

function listCommand(): Command {
  return new Command('list')
    .description('List the versions of a registry folder without loading them.')
    .addOption(modelsOption())
    .addOption(jsonOption())
    .action(list);
}

function verifyCommand(): Command {
  return new Command('verify')
    .description('Check versions as admission does: hashes, paths, graph, and self-test on an inference host.')
    .argument('[reference]', 'model, model@version or model:label (default: all versions)')
    .addOption(modelsOption())
    .addOption(providerOption('cpu'))
    .addOption(choiceOption('--variant <variant>', 'variant to check', ['auto', 'fp32', 'fp16', 'int8']))
    .addOption(jsonOption())
    .action(verify);
}

function labelCommand(): Command {
  return new Command('label')
    .description('Set a label of a model to a version. A running server follows.')
    .argument('<model>')
    .argument('<label>', 'label; requests without a version get stable')
    .argument('<version>')
    .addOption(modelsOption())
    .action(async (model: string, label: string, version: string, { models }: Common) => {
      await relabel(models, model, label, version);
      print(`${model}: ${label} → ${version}`);
    });
}

function importCommand(): Command {
  const importing = new Command('import')
    .description(
      'Copy a model folder in Hugging Face layout (ONNX files, model.safetensors or pytorch_model.bin) into the registry, as the next version.',
    )
    .argument('<folder>')
    .argument('<model>', 'name in the registry')
    .addOption(modelsOption())
    .addOption(providerOption('cpu'))
    .option('--label <label>', 'label to set on the new version');
  return withSideFlags(importing)
    .addOption(jsonOption())
    .action(async (folder: string, model: string, options: AdmissionFlags & SideFlags & { label?: string }) => {
      const { label } = options;
      const done = await withAdmissionTools(options, (deps) =>
        importFolder(folder, options.models, model, deps, { label, sides: sidesOf(options) }),
      );
      printImported(done, options, label);
    });
}

interface InteractionFlags extends AdmissionFlags {
  readonly top: number;
  readonly states?: number;
  readonly pooling?: 'mean' | 'cls';
  readonly label?: string;
}

const LAYERS = { integer: true, min: 1, max: 1000 } as const;

function interactionCommand(): Command {
  return new Command('interaction')
    .description(
      'Import a bi-encoder as an interaction model that was not trained: it scores by the cosine, at the cost of a trained one.',
    )
    .argument('<folder>', 'folder of sentence-transformers, or a version of a bi-encoder')
    .argument('<model>', 'name in the registry')
    .addOption(numberOption('--top <layers>', 'upper layers in which the query looks at the passage', LAYERS, 3))
    .addOption(
      numberOption('--states <layers>', 'layers after which states of passages are kept (default: all)', LAYERS),
    )
    .addOption(choiceOption('--pooling <mode>', 'pooling, for a folder without modules.json', ['mean', 'cls']))
    .addOption(modelsOption())
    .addOption(providerOption('cpu'))
    .option('--label <label>', 'label to set on the new version')
    .addOption(jsonOption())
    .action(async (folder: string, model: string, options: InteractionFlags) => {
      const { startInteraction } = await import('../main/start-interaction.ts');
      const done = await withAdmissionTools(options, (deps) =>
        startInteraction(folder, options.models, model, deps, options),
      );
      printImported(done, options, options.label);
    });
}

function pullCommand(): Command {
  const pulling = new Command('pull')
    .description('Download a model of the Hugging Face hub into the hub cache, then import it into the registry.')
    .argument('<repository>', 'ORGANIZATION/MODEL')
    .option('--revision <revision>', 'branch, tag or commit', 'main')
    .addOption(
      choiceOption('--variant <variant>', 'ONNX file to download', ['auto', 'all', 'fp32', 'fp16', 'int8'], 'auto'),
    )
    .option('--name <name>', 'name in the registry (default: the name of the repository without its owner)')
    .option('--label <label>', 'label to set on the new version')
    .option('--endpoint <url>', 'another server with the routes of the hub; also HF_ENDPOINT')
    .addOption(modelsOption())
    .addOption(providerOption('cpu'));
  type PullFlags = Omit<AdmissionFlags, 'variant'> & Omit<PullOptions, 'sides'> & SideFlags;
  return withSideFlags(pulling)
    .addOption(jsonOption())
    .action(async (repository: string, { variant, ...options }: PullFlags) => {
      const warn = (line: string) => process.stderr.write(`warning: ${line}\n`);
      const sides = sidesOf(options);
      const wanted = { ...options, warn, checkWeights, sides, ...(variant === undefined ? {} : { variant }) };
      const done = await withAdmissionTools(options, (deps) => pull(repository, options.models, deps, wanted));
      printImported(done, options, options.label);
    });
}

const EXAMPLES = `
Examples:
  $ npx winnow models list
  $ npx winnow models verify minilm-l6-infonce
  $ npx winnow models import ./my-export my-model --label canary
  $ npx winnow models interaction ./e5-small-v2 e5-top3 --top 3
  $ npx winnow models label my-model stable 2
  $ npx winnow models pull cross-encoder/ms-marco-MiniLM-L6-v2 --variant fp32
  $ npx winnow models pull cross-encoder/ettin-reranker-17m-v1        # weights alone: the graph is written here
`;

/** Makes `winnow models`: lists and changes the models of a registry folder. */
export function command(): Command {
  return new Command('models')
    .description('List, verify, label, import and pull the models of a registry folder.')
    .addCommand(listCommand())
    .addCommand(verifyCommand())
    .addCommand(labelCommand())
    .addCommand(importCommand())
    .addCommand(interactionCommand())
    .addCommand(pullCommand())
    .addHelpText('after', EXAMPLES);
}
