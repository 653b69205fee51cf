import { join } from 'node:path';
import { loadTokenizer } from '../src/tokenization/load.ts';
import type { PairOptions } from '../src/tokenization/tokenization-types.ts';
import { createTokenizerPool } from '../src/tokenization/tokenizer-pool.ts';
import { corpusTexts, hasShared, libraryEncoder, SHIPPED, sampled, TOKENIZERS } from '../test/tokenization/corpora.ts';
import { checksum, gold } from '../test/tokenization/rust-gold.ts';
import { median } from './load/figures.ts';
import { readFlags } from './load/flags.ts';

const ABOUT = `
Compares the speed of Winnow's tokenizers with the JavaScript library @huggingface/tokenizers in the same process, on the same TREC-DL
passages, in alternating rounds.

Prints texts per second of processor time for both and their ratio, per family; then, for requests of 1,000 passages, the milliseconds
and the longest turn of the event loop, with an empty and a filled cache; then how many texts get the ids that Hugging
Face's tokenizers (Rust) gave for them. Ends with exit code 1 if one does not. Ids are not compared with those of the JavaScript library, which
differ from the Rust library's.
`;

const flags = readFlags('tokenization', ABOUT, {
  rounds: { type: 'string', default: '5', help: 'Rounds; medians are printed.' },
  threads: { type: 'string', default: '2', help: 'Worker threads of the 1,000-passage requests.' },
});

const FAMILIES = [
  { name: 'WordPiece (BERT, ELECTRA, MiniLM)', folder: 'bert-uncased', texts: 4000 },
  { name: 'byte-level BPE (RoBERTa)', folder: 'roberta', texts: 400 },
  { name: 'byte-level BPE (ModernBERT)', folder: 'modernbert', texts: 400 },
  { name: 'Unigram (DeBERTa-v3)', folder: 'deberta-v3', texts: 400 },
] as const;

/** Returns texts per second of this thread's processor time, which other load affects little. */
function speed(encode: (text: string) => unknown, texts: readonly string[]): number {
  const start = process.threadCpuUsage();
  for (const text of texts) encode(text);
  const { user, system } = process.threadCpuUsage(start);
  return texts.length / ((user + system) / 1e6);
}

async function compareSpeed(passages: readonly string[]): Promise<void> {
  console.log(
    `Documents a second on one thread, ${flags.rounds} alternating rounds of TREC-DL 2019 passages (median of ratios)`,
  );
  for (const { name, folder, texts } of FAMILIES) {
    const own = await loadTokenizer(join(TOKENIZERS, folder));
    const library = await libraryEncoder(join(TOKENIZERS, folder));
    const sample = sampled(passages, texts);
    const rounds = Array.from({ length: Number(flags.rounds) + 1 }, () => ({
      own: speed((text) => own.encodeText(text), sample),
      library: speed((text) => library.encode(text), sample),
    })).slice(1);
    const ratio = median(rounds.map((r) => r.own / r.library));
    const [a, b] = [median(rounds.map((r) => r.own)), median(rounds.map((r) => r.library))];
    console.log(`  ${name}: own ${a.toFixed(0)}, library ${b.toFixed(0)}, ratio ${ratio.toFixed(1)}`);
  }
}

/**
 * Prints for how many groups of recorded texts the ids are those of Hugging Face's tokenizers (Rust). DeBERTa-v3 is left out: its ids were
 * recorded for a `tokenizer.json`, which its folder lacks.
 */
async function checkIds(): Promise<void> {
  for (const { name, ids } of gold.folders.filter((one) => !one.name.endsWith('/deberta-v3'))) {
    const root = join(import.meta.dirname, '..', name.startsWith('shared/') ? '..' : '');
    const { encodeText } = await loadTokenizer(join(root, name));
    const groups = ids.match(/.{8}/g) ?? [];
    const textsOf = (group: number) => gold.texts.slice(group * gold.group, (group + 1) * gold.group);
    const right = groups.filter((crc, group) => checksum(encodeText, textsOf(group)) === crc);
    console.log(`  ${name}: ${right.length} of ${groups.length} groups of ${gold.group} texts`);
    if (right.length < groups.length) process.exitCode = 1;
  }
}

const OPTIONS: PairOptions = {
  maxLength: 512,
  truncation: 'longest_first',
  side: 'right',
  longPassages: 'truncate',
  windowOverlap: 32,
};

/** Measures the longest processor time of this thread between two turns of the event loop; other processes do not count. */
function watchTurns(): { stop(): number } {
  let [longest, running] = [0, true];
  let last = process.threadCpuUsage();
  const turn = () => {
    const { user, system } = process.threadCpuUsage(last);
    longest = Math.max(longest, (user + system) / 1000);
    last = process.threadCpuUsage();
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  return {
    stop() {
      turn();
      running = false;
      return longest;
    },
  };
}

async function watchEventLoop(passages: readonly string[]): Promise<void> {
  const pool = createTokenizerPool({ threads: Number(flags.threads), cacheBytes: 1 << 28 });
  const tokenizer = await pool.for(SHIPPED);
  const words = passages.join(' ').split(' ');
  const request = (round: number) =>
    Array.from(
      { length: 1000 },
      (_, i) =>
        `${round} ${words
          .slice((i * 97) % 90_000)
          .slice(0, 300)
          .join(' ')}`,
    );
  for (let round = 0; round < Number(flags.rounds); round++) {
    const texts = request(round);
    for (const state of ['cold', 'warm'] as const) {
      const watch = watchTurns();
      const start = performance.now();
      await tokenizer.encode('how long is the life cycle of a flea', texts, OPTIONS);
      const took = performance.now() - start;
      console.log(
        `  ${state}: ${took.toFixed(0)} ms, longest turn of the event loop ${watch.stop().toFixed(1)} ms of processor time`,
      );
    }
  }
  await pool.close();
}

if (!hasShared) throw new Error('expected real data in ../shared, got none');
const passages = sampled(
  corpusTexts('trec-dl').filter((text) => text.length > 100),
  6000,
);
await compareSpeed(passages);
console.log(`\n1,000 passages of 300 words in one request, ${flags.threads} threads`);
await watchEventLoop(passages);
console.log("\nTexts with the ids that Hugging Face's tokenizers gave");
await checkIds();
