import { Command } from 'commander';
import { ANSERINI, type Bm25Params } from '../evaluation/first-stage/bm25.ts';
import type { FirstStage } from '../evaluation/first-stage/first-stage.ts';
import { Bm25Index } from '../evaluation/first-stage/index/bm25-index.ts';
import { searchStage } from '../evaluation/first-stage/search-endpoint.ts';
import { bm25Stage } from '../evaluation/first-stage/stages.ts';
import { writeRun } from '../evaluation/formats/run.ts';
import { TOPIC_FIELDS, type TopicField } from '../evaluation/formats/topic-fields.ts';
import { readQueries } from '../evaluation/formats/topics.ts';
import { startProgress } from '../util/progress.ts';
import { choiceOption, numberOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow search --index indexes/msmarco --queries queries.dev.small.tsv --out bm25.run
  $ npx winnow search --index indexes/robust04 --queries topics.robust04.txt --field title+description --k1 0.9 --b 0.4 --out bm25.run.gz
  $ WINNOW_SEARCH_AUTHORIZATION='ApiKey …' npx winnow search --url https://search.example.org:9200 --index passages \\
      --match text,title --queries topics.tsv --out elastic.run
  $ npx winnow measure --qrels qrels.txt --run bm25.run nDCG@10 R@1000

With --url, --index names an index of that Elasticsearch or OpenSearch cluster, which is searched by _msearch.
`;

interface Options {
  readonly index: string;
  readonly queries: string;
  readonly out: string;
  readonly depth: number;
  readonly k1: number;
  readonly b: number;
  readonly lengths: Bm25Params['lengths'];
  readonly field: TopicField;
  readonly url?: string;
  readonly match: string;
  readonly idField?: string;
  readonly tag?: string;
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
  const { k1, b, lengths } = options;
  const index = new Bm25Index(options.index);
  return { stage: bm25Stage(index, { k1, b, lengths }), close: () => index.close() };
}

async function run(options: Options): Promise<void> {
  const queries = await readQueries(options.queries, options.field);
  const { stage, close } = open(options);
  const progress = startProgress('search', queries.size);
  const start = performance.now();
  const found = await stage.retrieve(queries, options.depth, (done) => progress.update(done, 'queries'));
  const seconds = (performance.now() - start) / 1000;
  progress.stop();
  close();
  await writeRun(options.out, found, options.tag ?? stage.name);
  const hits = [...found.values()].reduce((sum, { docids }) => sum + docids.length, 0);
  process.stdout.write(`${options.out}: ${queries.size} queries, ${hits} passages, ${seconds.toFixed(1)} s\n`);
}

/** Makes `winnow search`: retrieves a run by BM25 or from a live search engine. */
export function command(): Command {
  return new Command()
    .description('Retrieve candidate lists by BM25 or from a live search engine.')
    .requiredOption('--index <folder>', 'index folder (`npx winnow index`), or the name of an index at --url')
    .requiredOption(
      '--queries <file>',
      'queries: id <tab> text, JSON lines, Parquet, TREC topics (XML, SGML) or SMART; .gz too',
    )
    .requiredOption('--out <file>', 'TREC run to write; .gz is compressed')
    .addOption(
      numberOption('--depth <n>', 'passages retrieved for a query', { integer: true, min: 1, max: 1_000_000 }, 1000),
    )
    .addOption(numberOption('--k1 <number>', 'saturation of term frequency in BM25', { min: 0, max: 100 }, ANSERINI.k1))
    .addOption(numberOption('--b <number>', 'length normalization in BM25', { min: 0, max: 1 }, ANSERINI.b))
    .addOption(
      choiceOption('--lengths <kind>', 'passage lengths rounded as by Lucene, or exact', ['lucene', 'exact'], 'lucene'),
    )
    .addOption(
      choiceOption(
        '--field <part>',
        'part of a TREC topic used as query; topics in XML: query, question and such',
        TOPIC_FIELDS,
        'title',
      ),
    )
    .option('--url <url>', 'URL of a live Elasticsearch or OpenSearch cluster')
    .option('--match <fields>', 'with --url: fields to match, separated by commas', 'text')
    .option('--id-field <field>', 'with --url: field with the passage id (default: _id)')
    .option('--tag <name>', 'last column of the run (default: the name of the first stage)')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
