import { workerData } from 'node:worker_threads';
import { type SharedWork, TICKET, workOn } from './adamw-work.ts';

const shared = workerData as SharedWork;
for (let round = 0; ; ) {
  const ticket = Atomics.load(shared.control, TICKET);
  if (ticket >>> 16 === round) Atomics.wait(shared.control, TICKET, ticket);
  else {
    round = ticket >>> 16;
    workOn(shared, round);
  }
}
