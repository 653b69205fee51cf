import { createRandom, deriveSeed } from '../../random.ts';
import type { Recipe } from '../recipe.ts';
import { datasetSource } from './dataset-source.ts';
import { isRowFormat } from './row-formats.ts';
import { rowSource } from './row-source.ts';
import type { DataSource, Sampler } from './schema.ts';
import type { CandidateList, ListSource } from './types.ts';

/** Takes lists from several sources by their weights until the first one is through. */
function mixed(sources: readonly { readonly source: ListSource; readonly weight: number }[]): ListSource {
  const ends = sources.map((_, i) => sources.slice(0, i + 1).reduce((sum, s) => sum + s.weight, 0));
  const total = ends.at(-1)!;
  const chooseAt = (point: number): number =>
    Math.max(
      0,
      ends.findIndex((end) => point < end),
    );
  return {
    files: sources.flatMap(({ source }) => source.files),
    skipped() {
      const all: Record<string, number> = {};
      for (const { source } of sources)
        for (const [reason, n] of Object.entries(source.skipped())) all[reason] = (all[reason] ?? 0) + n;
      return all;
    },
    async *lists(seed): AsyncGenerator<CandidateList> {
      const random = createRandom(deriveSeed(seed, 'mix'));
      const open = sources.map(({ source }, i) => source.lists(deriveSeed(seed, 'source', i))[Symbol.asyncIterator]());
      for (;;) {
        const { value, done } = await open[chooseAt(random.next() * total)]!.next();
        if (done) return;
        yield value;
      }
    },
  };
}

function openOne(source: DataSource, sampler: Sampler, folder: string): Promise<ListSource> {
  const { format } = source;
  return isRowFormat(format)
    ? rowSource({ ...source, format }, sampler, folder)
    : datasetSource(source, sampler, folder);
}

/** Opens what a recipe's `data` names. */
export async function openSources(data: Recipe['data'], folder: string): Promise<ListSource> {
  const opened = await Promise.all(
    data.train.map(async (source) => ({
      source: await openOne(source, data.sampler, folder),
      weight: source.weight,
    })),
  );
  return opened.length === 1 ? opened[0]!.source : mixed(opened);
}
