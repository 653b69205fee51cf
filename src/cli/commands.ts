import type { Command } from 'commander';

interface Entry {
  readonly summary: string;
  /** Loaded only when the command runs, so that `--help` and small commands start at once. */
  readonly load: () => Promise<Command>;
}

/** Commands by name, in the order of the help. Adding one is its file and a line here. */
export const COMMANDS: Readonly<Record<string, Entry>> = {
  serve: {
    summary: 'serve the models of a registry folder over HTTP',
    load: () => import('./serve.ts').then((m) => m.command()),
  },
  health: {
    summary: 'ask the server on this machine whether it is ready',
    load: () => import('./health.ts').then((m) => m.command()),
  },
  capacity: {
    summary: 'compute the replicas that a load needs',
    load: () => import('./capacity.ts').then((m) => m.command()),
  },
  models: {
    summary: 'list, verify, label, import and pull models',
    load: () => import('./models.ts').then((m) => m.command()),
  },
  quantize: {
    summary: 'add an int8 or fp16 file to a model',
    load: () => import('./quantize.ts').then((m) => m.command()),
  },
  prune: {
    summary: 'calibrate a model for early pruning of candidate lists',
    load: () => import('./prune.ts').then((m) => m.command()),
  },
  calibrate: {
    summary: 'make the relevance scores of a model probabilities',
    load: () => import('./calibrate.ts').then((m) => m.command()),
  },
  train: { summary: 'fine-tune a backbone by a recipe', load: () => import('./train.ts').then((m) => m.command()) },
  grid: {
    summary: 'train a grid of objectives, backbones and seeds',
    load: () => import('./grid.ts').then((m) => m.command()),
  },
  data: { summary: 'look at training data', load: () => import('./data.ts').then((m) => m.command()) },
  score: {
    summary: 'score candidate lists with a teacher, for distillation',
    load: () => import('./score.ts').then((m) => m.command()),
  },
  ensemble: {
    summary: 'take the weighted mean of score files',
    load: () => import('./ensemble.ts').then((m) => m.command()),
  },
  mine: {
    summary: 'find hard negatives with BM25 or a sentence encoder',
    load: () => import('./mine.ts').then((m) => m.command()),
  },
  teach: {
    summary: 'rank candidate lists with a language model',
    load: () => import('./teach.ts').then((m) => m.command()),
  },
  gradcheck: {
    summary: 'compare the gradients of a backbone with central differences',
    load: () => import('./gradcheck.ts').then((m) => m.command()),
  },
  index: {
    summary: 'build a BM25 index of a collection',
    load: () => import('./index-command.ts').then((m) => m.command()),
  },
  search: {
    summary: 'retrieve candidates with BM25 or a live search engine',
    load: () => import('./search.ts').then((m) => m.command()),
  },
  eval: {
    summary: 're-rank the sets of a suite and compare models',
    load: () => import('./eval.ts').then((m) => m.command()),
  },
  measure: { summary: 'measure a run against judgements', load: () => import('./measure.ts').then((m) => m.command()) },
  compare: {
    summary: 'compare runs of any systems, with tests',
    load: () => import('./compare.ts').then((m) => m.command()),
  },
  experiments: {
    summary: 'report, plan and check A/B tests of models',
    load: () => import('./experiments.ts').then((m) => m.command()),
  },
  report: {
    summary: 'draw the statistics of a grid of results',
    load: () => import('./report.ts').then((m) => m.command()),
  },
};
