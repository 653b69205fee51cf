import { Command } from 'commander';
import { indexCollection } from '../evaluation/first-stage/index/index-collection.ts';
import { startProgress } from '../util/progress.ts';
import { numberOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow index collection.tsv --out indexes/msmarco     # id <tab> text
  $ npx winnow index scifact/corpus.jsonl.gz --out indexes/scifact
  $ npx winnow index disk4/ft disk4/fr94 disk5/fbis disk5/latimes --out indexes/robust04     # <DOC> files
  $ npx winnow index cranfield/ --out indexes/cranfield       # the passages of a data set
  $ npx winnow search --index indexes/msmarco --queries queries.dev.small.tsv --out bm25.run

Text is analyzed as by Lucene's EnglishAnalyzer. --batch limits the memory, whatever the size of the collection. The
folder is written as a whole or not at all.
`;

interface Options {
  readonly out: string;
  readonly batch: number;
  readonly force?: true;
}

async function run(paths: readonly string[], { out, batch, force }: Options): Promise<void> {
  const facts = await indexCollection(paths, out, {
    batchPostings: batch * 1e6,
    replace: force === true,
    progress: startProgress,
  });
  const bytes = Object.values(facts.bytes).reduce((sum, size) => sum + size, 0);
  process.stdout.write(
    `${out}: ${facts.passages} passages, ${facts.terms} terms, ${facts.postings} postings, ${(bytes / 1e6).toFixed(1)} MB\n`,
  );
}

/** Makes `winnow index`: builds a BM25 index of a collection. */
export function command(): Command {
  return new Command()
    .description('Build a BM25 index on disk.')
    .argument(
      '<corpus...>',
      'collection: .tsv, .jsonl or .parquet (one passage a line or row), TREC <DOC> files, SMART; folders of them; .gz too; or a data set',
    )
    .requiredOption('--out <folder>', 'folder of the index')
    .addOption(
      numberOption(
        '--batch <millions>',
        'postings held in memory, in millions (16 MB each)',
        { min: 0.001, max: 100 },
        4,
      ),
    )
    .option('--force', 'replace an existing index')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
