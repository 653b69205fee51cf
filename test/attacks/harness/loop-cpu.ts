import { writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

/*
 * Loaded into a server by `NODE_OPTIONS=--import`: measures the longest turn of its event loop in CPU time of the front thread, which other
 * programs of the machine do not lengthen. On SIGUSR2 it writes the milliseconds to the file of `LOOP_CPU_FILE` and begins anew.
 */

const file = process.env.LOOP_CPU_FILE;
if (isMainThread && file && process.argv[2] === 'serve') {
  let last = process.threadCpuUsage();
  let longest = 0;
  // Fires once per turn at most: between two calls lies at least one whole turn.
  setInterval(() => {
    const now = process.threadCpuUsage();
    longest = Math.max(longest, (now.user + now.system - last.user - last.system) / 1000);
    last = now;
  }, 1).unref();
  let readings = 0;
  process.on('SIGUSR2', () => {
    writeFileSync(file, `${++readings} ${longest}`);
    longest = 0;
    last = process.threadCpuUsage();
  });
}
