import { workerData } from 'node:worker_threads';
import { DONE, FAILED, type SharedWork, TICKET, workOn } from './adamw-work.ts';

const shared = workerData as SharedWork;
const { control } = shared;
try {
  for (let round = 0; ; ) {
    const ticket = Atomics.load(control, TICKET);
    if (ticket >>> 16 === round) Atomics.wait(control, TICKET, ticket);
    else {
      round = ticket >>> 16;
      workOn(shared, round);
    }
  }
} catch (error) {
  // The thread that waits for all chunks takes no messages while it waits.
  Atomics.add(control, FAILED, 1);
  Atomics.notify(control, DONE);
  throw error;
}
