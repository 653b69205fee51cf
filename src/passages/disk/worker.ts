import { parentPort, workerData } from 'node:worker_threads';
import { FileError } from './errors.ts';
import type { FileCall, FileReply, FileSetting } from './file-types.ts';
import { FileKeeper } from './keeper.ts';
import { buffersOf } from './packed.ts';

const keeper = new FileKeeper(workerData as FileSetting);

function answer(id: number, call: FileCall): FileReply {
  try {
    return { id, ok: true, value: keeper.run(call) };
  } catch (error) {
    return {
      id,
      ok: false,
      message: (error as Error).message,
      fault: error instanceof FileError ? error.fault : 'failed',
    };
  }
}

parentPort!.on('message', ({ id, call }: { readonly id: number; readonly call: FileCall }) => {
  const reply = answer(id, call);
  const sent = reply.ok && reply.value ? buffersOf(reply.value.passages) : [];
  parentPort!.postMessage({ ...reply, ...keeper.facts() }, sent);
});
