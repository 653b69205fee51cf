import type { Command } from 'commander';

interface Entry {
  readonly summary: string;
  /** Loaded only when the command runs, so that `--help` and small commands start at once. */
  readonly load: () => Promise<{ command: () => Command }>;
}

/** Commands by name, in the order of the help. Adding one is its file and a line here. */
export const COMMANDS: Readonly<Record<string, Entry>> = {
  serve: { summary: 'serve the models of a registry folder over HTTP', load: () => import('./serve.ts') },
  models: { summary: 'list, verify, label, import and pull models', load: () => import('./models.ts') },
  quantize: { summary: 'add an int8 or fp16 file to a model', load: () => import('./quantize.ts') },
  train: { summary: 'fine-tune a backbone by a recipe', load: () => import('./train.ts') },
  grid: { summary: 'train a grid of objectives, backbones and seeds', load: () => import('./grid.ts') },
  score: { summary: 'score candidate lists with a teacher, for distillation', load: () => import('./score.ts') },
  mine: { summary: 'find hard negatives with BM25', load: () => import('./mine.ts') },
  teach: { summary: 'rank candidate lists with a language model', load: () => import('./teach.ts') },
  gradcheck: {
    summary: "hold a backbone's gradients against central differences",
    load: () => import('./gradcheck.ts'),
  },
  index: { summary: 'build a BM25 index of a collection', load: () => import('./index-command.ts') },
  search: { summary: 'retrieve candidates with BM25 or a live search engine', load: () => import('./search.ts') },
  eval: { summary: 're-rank the sets of a suite and compare models', load: () => import('./eval.ts') },
  measure: { summary: 'measure a run against judgements', load: () => import('./measure.ts') },
  experiments: { summary: 'report, plan and check A/B tests of models', load: () => import('./experiments.ts') },
  report: { summary: 'draw the statistics of a grid of results', load: () => import('./report.ts') },
};
