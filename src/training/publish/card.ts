import { basename } from 'node:path';
import { interactionManifest } from '../../registry/interaction.ts';
import type { Manifest } from '../../registry/manifest.ts';
import { markdownTable } from '../../reports/markdown.ts';
import type { Prefixes } from '../interaction/rows.ts';
import { type Recipe, servedLength } from '../recipe/recipe.ts';
import type { TrainingOutcome } from '../run/trainer.ts';

/** What a published version says about itself: for people in README.md, for tools in `model.json`. */
interface Card {
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
  /** Files the backbone itself was trained on, where its manifest names them. */
  readonly data: readonly CardFile[];
}

interface CardFacts {
  readonly recipe: Recipe;
  /** The recipe's text. */
  readonly source: string;
  readonly outcome: TrainingOutcome;
  readonly backbone: BackboneFacts;
  readonly objective: string;
  /** Texts before those of an interaction model. */
  readonly prefixes?: Prefixes | undefined;
}

/** Returns the files the model was trained on, those of its backbone included; files of the same content once. */
function seenFiles({ outcome, backbone }: CardFacts): CardFile[] {
  const own = outcome.files.map(({ path, sha256 }) => ({ file: basename(path), sha256 }));
  const byHash = Map.groupBy([...own, ...backbone.data], ({ sha256 }) => sha256);
  return [...byHash.values()].map(([first]) => first!);
}

function licenseOf({ recipe, backbone }: CardFacts): string {
  if (recipe.publish?.licence !== undefined) return recipe.publish.licence;
  const data = [...new Set(recipe.data.train.flatMap((source) => source.licence ?? []))].join('; ');
  return `backbone: ${backbone.license ?? 'not stated'}; data: ${data || 'not stated'}`;
}

function validationTable({ validation }: TrainingOutcome): string {
  if (!validation) return 'No validation set was given, so the quality of this model is not known.';
  const { measure, queries, firstStage, base, tuned } = validation;
  const rows = { 'first stage': firstStage, 'before training': base, 'this model': tuned };
  return markdownTable(
    [{ label: `${measure}, ${queries} held-out queries` }, { label: '', numeric: true }],
    Object.entries(rows).map(([name, value]) => [name, value.toFixed(4)]),
  );
}

function kindOf({ interaction }: Recipe): string {
  if (!interaction) return 'A cross-encoder';
  const { form, top, kept } = interaction;
  return `An interaction model (form ${form}: ${top} layers of the query read kept states of the passage, ${kept})`;
}

const scoreText = ({ interaction }: Recipe): string =>
  interaction ? 'Scores compare passages of one query.' : 'The score is a logit; serve it through a sigmoid.';

function readme(facts: CardFacts): string {
  const { recipe, outcome, objective, source, backbone } = facts;
  const skipped = Object.entries(outcome.skipped).map(([reason, n]) => `${n} ${reason}`);
  const parts = [
    `# ${recipe.name}`,
    `${kindOf(recipe)} from ${backbone.name}, trained with ${objective} for ${outcome.step} of ${recipe.steps} steps. ${scoreText(recipe)}`,
    validationTable(outcome),
    '![loss and validation over the steps](curve.svg)',
    '## Data',
    markdownTable(
      [{ label: 'file' }, { label: 'sha256' }],
      seenFiles(facts).map(({ file, sha256 }) => [file, sha256]),
    ),
    ...(skipped.length > 0 ? [`Left out: ${skipped.join(', ')}.`] : []),
    `License: ${licenseOf(facts)}.`,
    '## Recipe',
    `\`\`\`yaml\n${source.trimEnd()}\n\`\`\``,
  ];
  return `---
base_model: ${backbone.name}
pipeline_tag: text-ranking
tags: [${recipe.interaction ? 'interaction' : 'cross-encoder'}, reranker, winnow]
---

${parts.join('\n\n')}
`;
}

/** Writes the card of a finished run from facts already known; measures nothing. */
export function writeCard(facts: CardFacts): Card {
  const { recipe, outcome, objective } = facts;
  const { validation } = outcome;
  return {
    readme: readme(facts),
    manifest: {
      description: `${facts.backbone.name} fine-tuned with ${objective}.`,
      license: licenseOf(facts),
      activation: recipe.interaction ? 'none' : 'sigmoid',
      maxLength: servedLength(recipe),
      ...(recipe.maxQueryTokens !== undefined && { maxQueryTokens: recipe.maxQueryTokens }),
      ...(facts.prefixes
        ? interactionManifest({ ...facts.prefixes, scale: 1 })
        : ({ truncation: 'longest_first', reduction: { kind: 'single' } } as const)),
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
