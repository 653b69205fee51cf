import { openPassageFile } from '../../src/passages/passage-file.ts';
import { passage } from './file-data.ts';

/*
 * Writes passages into a file for ever, and prints after each flush how many are on the disk; with a second argument, that many, and then
 * every event. It is ended by a kill.
 */

const [path, bytes, from = '0'] = process.argv.slice(2) as [string, string?, string?];
const file = await openPassageFile({
  path,
  limitBytes: 2 ** 30,
  onEvent: (event) => process.stdout.write(`${JSON.stringify(event)}\n`),
});
process.stdout.write('open\n');
for (let i = Number(from); ; i++) {
  file.put(passage(i, bytes ? Number(bytes) : undefined));
  if (i % 7 !== 0) continue;
  await file.flush();
  process.stdout.write(`${JSON.stringify({ put: i + 1, ...file.stats() })}\n`);
}
