import { writeSync } from 'node:fs';
import { MODELS, openLab, SPLIT } from './lab.ts';

/*
 * A server in small that is there to be killed: it answers requests and takes their outcomes as fast as it can, and writes the key of each
 * outcome to standard output once it has been acknowledged.
 */
const [database, round] = process.argv.slice(2) as [string, string];
const lab = await openLab(MODELS, { database });
await lab.api.put('trial', SPLIT, 'ada');

async function client(name: number): Promise<never> {
  for (let i = 0; ; i++) {
    const requestId = `${round}.${name}.${i}`;
    await lab.ask(`user ${i % 50}`, [1, 2, 3], { requestId });
    const [result] = await lab.api.addOutcomes([{ request_id: requestId, metric: 'clicks', key: requestId }]);
    if (result!.status !== 'stored') throw new Error(`${requestId} was ${result!.status}`);
    writeSync(1, `${requestId}\n`);
  }
}

await Promise.all([0, 1, 2].map(client));
