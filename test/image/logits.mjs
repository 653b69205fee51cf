// Runs in the image: scores fixed rows of token ids with the sessions of an inference host, and prints the logits' bits.
// node logits.mjs '[{"model": "name", "file": "/path.onnx", "vocabulary": 30522, "maxLength": 192}, …]'
import { SessionTable } from '/app/dist/inference/session-table.js';

const LENGTHS = [7, 12, 33, 64, 90, 128, 160, 192];

/** The same ids on every machine: a linear congruence. */
function rows(vocabulary, maxLength) {
  let state = 7;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 1 + (state % (vocabulary - 1));
  };
  return LENGTHS.filter((length) => length <= maxLength).map((length) => ({
    ids: Int32Array.from({ length }, next),
    secondSegment: Math.ceil(length / 4),
  }));
}

const table = new SessionTable({ provider: 'cpu', threads: 1 });
const found = {};
for (const { model, file, vocabulary, maxLength } of JSON.parse(process.argv[2])) {
  await table.load(1, { key: model, file, padId: 0, maxLength, reduction: { kind: 'single' } });
  const all = rows(vocabulary, maxLength);
  const { scores } = await table.run(1, all);
  const alone = [];
  for (const row of all.slice(0, 3)) alone.push(...(await table.run(1, [row])).scores);
  found[model] = [...scores, ...alone];
  await table.unload(1);
}
console.log(JSON.stringify({ arch: process.arch, logits: found }));
