import { runSuite } from '../../../src/evaluation/suites/run-suite.ts';
import type { ScoreRequest, SuiteModels } from '../../../src/evaluation/suites/suite-models.ts';
import { readSuite } from '../../../src/evaluation/suites/suite-schema.ts';

/*
 * Runs a suite with a model whose score is a sum over the text: `node interrupted-suite.ts SUITE OUT [QUERIES]`. It prints the id of each query
 * that it scores. After QUERIES of them it prints `waiting` and scores no more.
 */

const [file, out, queries = 'Infinity'] = process.argv.slice(2);

const scoreOf = (query: string, passage: string): number =>
  Math.fround([...passage].reduce((sum, char, i) => sum + Math.sin(char.charCodeAt(0) * (i + query.length)), 0));

const models: SuiteModels = {
  open: async (reference) => ({
    key: `${reference}@1`,
    sha256: reference,
    variant: 'fp32',
    provider: 'cpu',
    training: undefined,
  }),
  async *score(_reference, _variant, requests: AsyncIterable<ScoreRequest>) {
    let scored = 0;
    for await (const { qid, query, passages } of requests) {
      if (scored++ >= Number(queries)) {
        console.log('waiting');
        setInterval(() => undefined, 60_000);
        await new Promise(() => undefined);
      }
      console.log(qid);
      yield { qid, scores: passages.map((passage) => scoreOf(query, passage)), tokens: 10, truncated: 1 };
    }
  },
};

await runSuite(readSuite(file!), models, { out: out! });
