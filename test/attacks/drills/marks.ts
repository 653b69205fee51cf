import { gzipSync } from 'node:zlib';
import type { Drill } from '../harness/drill.ts';
import { exchange, head } from '../harness/raw.ts';
import { several } from '../harness/witness.ts';

/** Texts that cost a tokenizer more than others do. */
const TEXTS: Readonly<Record<string, string>> = {
  'combining marks': 'a\u0300\u0316'.padEnd(600_000, '\u0300\u0316'),
  'Tibetan vowels': '\u0f71\u0f81'.repeat(300_000),
  'long ligatures': '\ufdfa'.repeat(2_000_000),
  'Hangul letters': '\u1100\u1161\u11a8'.repeat(600_000),
  'a word of ten million letters': 'ab'.repeat(5_000_000),
  blanks: ' '.repeat(10_000_000),
  'one-character tokens': '. '.repeat(5_000_000),
  'special tokens': '[SEP]a'.repeat(1_500_000),
  ideographs: '中'.repeat(3_000_000),
  'lines of nothing': '\n '.repeat(4_000_000),
};

/** Requests that read as little of a text as they can, or all of it. */
const REQUESTS = [{ truncate: true }, { truncate: false }, { truncate: true, long_passages: 'max' }] as const;

export const marks: Drill = {
  name: 'marks',
  attack: 'passages that are slow to normalize or to tokenize, of up to 20 MB, three at a time',
  async run({ server }, scale) {
    const failures: string[] = [];
    let tries = 0;
    let slowest = 0;
    for (const [name, text] of Object.entries(TEXTS)) {
      const attack = REQUESTS.flatMap((options) => {
        const body = gzipSync(JSON.stringify({ query: 'q', texts: [text, text.slice(1)], ...options }), { level: 1 });
        const fields = { 'content-encoding': 'gzip', connection: 'close', 'x-winnow-deadline-ms': '10000' };
        return Array.from({ length: scale }, () => exchange(server.url, head('/rerank', body.length, fields), body));
      });
      const beside = await several(server.url, 4, 5000);
      failures.push(...beside.failures.map((failure) => `${name}: ${failure}`));
      slowest = Math.max(slowest, beside.slowestMs);
      for (const { status, text: answer } of await Promise.all(attack)) {
        tries++;
        if (status === 500 || status === 0) failures.push(`${name}: ${status} ${answer.slice(0, 300)}`);
      }
    }
    return { tries, failures, seen: `slowest ordinary request beside them ${slowest.toFixed(0)} ms` };
  },
};
