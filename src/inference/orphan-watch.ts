import { workerData } from 'node:worker_threads';

/*
 * A thread of the host process that looks whether the front process is still there. The host itself learns of it when its pipe closes, but
 * not while a native call blocks its JavaScript thread, and such a call may never end.
 */

const EVERY_MS = 500;
const { parent } = workerData as { readonly parent: number };

setInterval(() => {
  // An orphan is given another parent. Only a kill from this thread reaches a process whose main thread is inside native code.
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
}, EVERY_MS);
