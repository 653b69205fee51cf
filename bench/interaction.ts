import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Batch } from '../src/training/data/batches.ts';
import { openSources } from '../src/training/data/sources.ts';
import { recipeTokenizer } from '../src/training/interaction/tokenizer.ts';
import { createObjective } from '../src/training/objectives/catalog.ts';
import { parseRecipe } from '../src/training/recipe/recipe.ts';
import { openStream } from '../src/training/run/stream.ts';
import { loadBackbone } from '../src/training/step/backbone.ts';
import { openSessions } from '../src/training/step/sessions.ts';
import { table } from './load/figures.ts';
import { readFlags } from './load/flags.ts';

const ROOT = resolve(import.meta.dirname, '..');
const ABOUT = `
Training of an interaction model against that of an ordinary cross-encoder of the same encoder, on the same lists: pairs a second of processor
time. The two take turns, so that other load affects both. States of passages are computed before the first turn, which is timed by itself: a run
computes each once, and a second run of the encoder none.

Prints a Markdown table: processor time of a step, pairs a second of it, and the ratio to the cross-encoder.

  npm run bench:interaction
  npm run bench:interaction -- --backbone e5-small-v2 --tops 2,3 --rounds 3
`;

const flags = readFlags('interaction', ABOUT, {
  backbone: {
    type: 'string',
    default: join(ROOT, '../shared/backbones/all-minilm-l6-v2'),
    help: 'Folder of an encoder.',
  },
  lists: {
    type: 'string',
    default: join(ROOT, '../shared/data/trec-dl/SPLADE_P_P_ENSEMBLE_DISTIL.dl22.top100.json'),
    help: 'Candidate lists with teacher scores, as rank-llm JSON.',
  },
  tops: { type: 'string', default: '2,3', help: 'Layers of the top, one or several numbers.' },
  train: {
    type: 'string',
    default: 'interaction',
    help: 'What is trained of an interaction model: interaction or top.',
  },
  queries: { type: 'string', default: '4', help: 'Lists of a step.' },
  size: { type: 'string', default: '16', help: 'Passages of a list.' },
  steps: { type: 'string', default: '4', help: 'Steps of a turn.' },
  rounds: { type: 'string', default: '3', help: 'Turns of each side.' },
  threads: { type: 'string', default: '1', help: 'Threads of each side.' },
});

/** Processor time of this process in seconds. */
const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

interface Side {
  readonly name: string;
  /** Processor seconds of reading the passages once, and how many there are; 0 for a cross-encoder. */
  readonly once: { readonly seconds: number; readonly passages: number };
  /** Takes the steps of a turn. Returns processor seconds. */
  turn(): Promise<number>;
  readonly pairs: number;
  close(): Promise<void>;
}

const STEPS = Number(flags.steps);

/** Opens a side with the batches of a turn. */
async function openSide(name: string, own: Record<string, unknown>, states: string): Promise<Side> {
  const recipe = parseRecipe(
    {
      name: 'bench',
      backbone: flags.backbone,
      objective: 'KLDivergence',
      data: {
        train: [{ format: 'rank-llm', path: flags.lists, teacherScale: 1e-5 }],
        sampler: { mode: 'quantiles', size: Number(flags.size) },
      },
      batch: { queries: Number(flags.queries) },
      maxLength: 160,
      dropout: 'off',
      threads: Number(flags.threads),
      ...own,
    },
    'bench',
  );
  const folder = resolve(flags.backbone);
  const backbone = await loadBackbone(folder, recipe);
  const tokenizer = await recipeTokenizer(folder, recipe);
  const source = await openSources(recipe.data, ROOT, createObjective(recipe.objective).needs);
  const sessions = await openSessions(backbone, recipe, tokenizer.padId, { passages: states });
  const stream = await openStream(recipe, source, tokenizer);
  const batches: Batch[] = [];
  while (batches.length < STEPS) batches.push((await stream.next()).value as Batch);
  const before = cpuSeconds();
  for (const batch of batches) await sessions.inputs(batch.rows);
  const seconds = cpuSeconds() - before;
  let step = 0;
  const take = async (batch: Batch): Promise<void> => {
    await sessions.stepper.step([batch], ++step, { backbone: 1e-5, head: 1e-5 }, () => sessions.inputs(batch.rows));
  };
  // The first steps allocate memory.
  for (const batch of batches.slice(0, 2)) await take(batch);
  return {
    name,
    once: { seconds, passages: sessions.passages?.counts.computed ?? 0 },
    pairs: batches.reduce((sum, { rows }) => sum + rows.length, 0),
    async turn() {
      const start = cpuSeconds();
      for (const batch of batches) await take(batch);
      return cpuSeconds() - start;
    },
    async close() {
      await stream.return(undefined);
      await sessions.close();
      await source.close?.();
      await tokenizer.close();
    },
  };
}

const states = mkdtempSync(join(tmpdir(), 'bench-interaction-'));
const sides: Side[] = [];
try {
  sides.push(await openSide('cross-encoder', { head: { pooling: 'mean', hidden: false } }, states));
  for (const top of flags.tops.split(',').map(Number))
    sides.push(
      await openSide(
        `interaction, top ${top}`,
        { interaction: { top, train: flags.train } },
        join(states, String(top)),
      ),
    );
  const spent = sides.map(() => 0);
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const [i, side] of sides.entries()) spent[i]! += await side.turn();
  const rates = sides.map(({ pairs }, i) => (pairs * Number(flags.rounds)) / spent[i]!);
  const rows = sides.map(({ name, once }, i) => [
    name,
    `${((1000 * spent[i]!) / (STEPS * Number(flags.rounds))).toFixed(0)} ms`,
    rates[i]!.toFixed(1),
    `${(rates[i]! / rates[0]!).toFixed(1)}x`,
    once.passages === 0 ? '–' : `${((1000 * once.seconds) / once.passages).toFixed(1)} ms`,
  ]);
  const head = ['', 'processor time of a step', 'pairs a second', 'to the cross-encoder', 'a passage, once'];
  process.stdout.write(`${table(head, rows)}\n`);
  process.stdout.write(
    `${flags.queries} lists of ${flags.size} a step, ${flags.threads} thread(s), load ${loadavg()[0]!.toFixed(1)}\n`,
  );
} finally {
  for (const side of sides) await side.close();
  rmSync(states, { recursive: true, force: true });
}
