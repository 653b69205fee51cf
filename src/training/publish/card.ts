import type { Manifest } from '../../registry/manifest.ts';
import { type Recipe, servedLength } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';

/** What a published version says of itself: to people in README.md, to tools in `model.json`. */
export interface Card {
  readonly readme: string;
  readonly manifest: Partial<Manifest>;
}

/** A file of training data by name and hash. */
export interface CardFile {
  readonly file: string;
  readonly sha256: string;
}

export interface BackboneFacts {
  readonly name: string;
  readonly license: string | undefined;
  /** What it was trained on itself, where its manifest says so. */
  readonly data: readonly CardFile[];
}

export interface CardFacts {
  readonly recipe: Recipe;
  readonly source: string;
  readonly outcome: TrainingOutcome;
  readonly backbone: BackboneFacts;
  readonly objective: string;
}

/** What the model has seen: the run's own files, and those its backbone was trained on; each once. */
function seenFiles({ outcome, backbone }: CardFacts): CardFile[] {
  const own = outcome.files.map(({ path, sha256 }) => ({ file: fileName(path), sha256 }));
  const byHash = Map.groupBy([...own, ...backbone.data], ({ sha256 }) => sha256);
  return [...byHash.values()].map(([first]) => first!);
}

const fileName = (path: string): string => path.split('/').at(-1)!;

function licenseOf({ recipe, backbone }: CardFacts): string {
  const data = [...new Set(recipe.data.train.flatMap((s) => s.licence ?? []))];
  return (
    recipe.publish?.licence ??
    [`backbone: ${backbone.license ?? 'not stated'}`, `data: ${data.length > 0 ? data.join('; ') : 'not stated'}`].join(
      '; ',
    )
  );
}

function validationLines({ validation }: TrainingOutcome): string[] {
  if (!validation) return ['No validation set was given, so nothing is known of how good this model is.'];
  const { measure, queries, firstStage, base, tuned } = validation;
  return [
    `| ${measure}, ${queries} held-out queries | |`,
    '|---|---|',
    `| first stage | ${firstStage.toFixed(4)} |`,
    `| before training | ${base.toFixed(4)} |`,
    `| this model | ${tuned.toFixed(4)} |`,
  ];
}

function readme(facts: CardFacts): string {
  const { recipe, outcome, objective, source } = facts;
  const front = [
    '---',
    `base_model: ${facts.backbone.name}`,
    'pipeline_tag: text-ranking',
    'tags: [cross-encoder, reranker, winnow]',
    '---',
  ];
  const data = seenFiles(facts).map(({ file, sha256 }) => `| ${file} | ${sha256} |`);
  const skipped = Object.entries(outcome.skipped).map(([reason, n]) => `${n} ${reason}`);
  return [
    ...front,
    '',
    `# ${recipe.name}`,
    '',
    `A cross-encoder from ${facts.backbone.name}, trained with ${objective} for ${outcome.step} of ${recipe.steps} steps. The score is a logit; serve it through a sigmoid.`,
    '',
    ...validationLines(outcome),
    '',
    '![loss and validation over the steps](curve.svg)',
    '',
    '## Data',
    '',
    '| file | sha256 |',
    '|---|---|',
    ...data,
    '',
    ...(skipped.length > 0 ? [`Left out: ${skipped.join(', ')}.`, ''] : []),
    `License: ${licenseOf(facts)}.`,
    '',
    '## Recipe',
    '',
    '```yaml',
    source.trimEnd(),
    '```',
    '',
  ].join('\n');
}

/** @param facts everything the run knows; nothing is measured here. */
export function writeCard(facts: CardFacts): Card {
  const { recipe, outcome, objective } = facts;
  const { validation } = outcome;
  return {
    readme: readme(facts),
    manifest: {
      description: `${facts.backbone.name} fine-tuned with ${objective}.`,
      license: licenseOf(facts),
      activation: 'sigmoid',
      maxLength: servedLength(recipe),
      truncation: 'longest_first',
      reduction: { kind: 'single' },
      objective,
      backbone: facts.backbone.name,
      training: {
        steps: outcome.step,
        seed: recipe.seed,
        learningRate: recipe.optimizer.learningRate,
        listsPerStep: recipe.batch.queries * recipe.batch.accumulate,
        data: seenFiles(facts).map((seen) => ({ ...seen })),
        ...(validation && {
          measures: {
            [validation.measure]: {
              queries: validation.queries,
              firstStage: validation.firstStage,
              untrained: validation.base,
              tuned: validation.tuned,
            },
          },
        }),
      },
    },
  };
}
