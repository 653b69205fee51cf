import { Command, Option } from 'commander';
import { describe, WinnowError } from '../errors.ts';
import { ANSERINI, type Bm25Params } from '../evaluation/first-stage/bm25.ts';
import type { FirstStage } from '../evaluation/first-stage/first-stage.ts';
import { Bm25Index } from '../evaluation/first-stage/index/bm25-index.ts';
import { searchStage } from '../evaluation/first-stage/search-endpoint.ts';
import { bm25Stage } from '../evaluation/first-stage/stages.ts';
import { writeRun } from '../evaluation/formats/run.ts';
import { readQueries, type TopicField } from '../evaluation/formats/topics.ts';
import { startProgress } from '../util/progress.ts';

const EXAMPLES = `
Examples:
  $ winnow search --index indexes/msmarco --queries queries.dev.small.tsv --out bm25.run
  $ winnow search --index indexes/robust04 --queries topics.robust04.txt --field title+description --k1 0.9 --b 0.4 --out bm25.run.gz
  $ WINNOW_SEARCH_AUTHORIZATION='ApiKey …' winnow search --url https://search.example.org:9200 --index passages \\
      --match text,title --queries topics.tsv --out elastic.run
  $ winnow measure --qrels qrels.txt --run bm25.run nDCG@10 R@1000

With --url, --index names an index of that Elasticsearch or OpenSearch cluster, asked through _msearch.
`;

interface Options {
  readonly index: string;
  readonly queries: string;
  readonly out: string;
  readonly depth: string;
  readonly k1: string;
  readonly b: string;
  readonly lengths: Bm25Params['lengths'];
  readonly field: TopicField;
  readonly url?: string;
  readonly match: string;
  readonly idField?: string;
  readonly tag?: string;
}

function numberOf(name: string, text: string, low: number, high: number): number {
  const value = text === '' ? Number.NaN : Number(text);
  if (value >= low && value <= high) return value;
  throw new WinnowError('invalid_input', {
    where: `--${name}`,
    expected: `a number from ${low} to ${high}`,
    got: describe(text),
  });
}

interface Opened {
  readonly stage: FirstStage;
  close(): void;
}

function open(options: Options): Opened {
  if (options.url !== undefined) {
    const { url, index, idField } = options;
    const authorization = process.env.WINNOW_SEARCH_AUTHORIZATION;
    return { stage: searchStage({ url, index, fields: options.match.split(','), idField, authorization }), close() {} };
  }
  const params = {
    k1: numberOf('k1', options.k1, 0, 100),
    b: numberOf('b', options.b, 0, 1),
    lengths: options.lengths,
  };
  const index = new Bm25Index(options.index);
  return { stage: bm25Stage(index, params), close: () => index.close() };
}

async function run(options: Options): Promise<void> {
  const depth = numberOf('depth', options.depth, 1, 1_000_000);
  const queries = await readQueries(options.queries, options.field);
  const { stage, close } = open(options);
  const progress = startProgress('search', queries.size);
  const start = performance.now();
  const found = await stage.retrieve(queries, Math.floor(depth), (done) => progress.update(done, 'queries'));
  const seconds = (performance.now() - start) / 1000;
  progress.stop();
  close();
  await writeRun(options.out, found, options.tag ?? stage.name);
  const hits = [...found.values()].reduce((sum, { docids }) => sum + docids.length, 0);
  process.stdout.write(`${options.out}: ${queries.size} queries, ${hits} passages, ${seconds.toFixed(1)} s\n`);
}

/** `winnow search`: a run of BM25 or of a live search engine. */
export function command(): Command {
  return new Command()
    .description('Retrieve candidate lists with BM25 or a live search engine.')
    .requiredOption('--index <folder>', 'index folder (`winnow index`), or the name of an index at --url')
    .requiredOption('--queries <file>', 'queries: id <tab> text, BEIR JSON lines or TREC topics; .gz too')
    .requiredOption('--out <file>', 'TREC run to write; .gz is packed')
    .option('--depth <n>', 'passages a query', '1000')
    .option('--k1 <number>', 'saturation of term frequency', String(ANSERINI.k1))
    .option('--b <number>', 'length normalization', String(ANSERINI.b))
    .addOption(
      new Option('--lengths <kind>', 'passage lengths as Lucene keeps them in a byte, or exact')
        .choices(['lucene', 'exact'])
        .default('lucene'),
    )
    .addOption(
      new Option('--field <part>', 'part of a TREC topic that is asked')
        .choices(['title', 'description', 'narrative', 'title+description'])
        .default('title'),
    )
    .option('--url <url>', 'a live Elasticsearch or OpenSearch cluster')
    .option('--match <fields>', 'with --url: fields to match, separated by commas', 'text')
    .option('--id-field <field>', 'with --url: field with the passage id, where it is not _id')
    .option('--tag <name>', 'last column of the run')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
