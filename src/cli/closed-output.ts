/**
 * Handles failures of standard output and standard error. A reader that has left (`winnow measure … | head`) costs the rest of the output:
 * a training run goes on. Any other failure, such as a full disk, makes the exit code 1.
 */
export function surviveClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'EPIPE') return;
      process.exitCode = 1;
      if (stream === process.stdout) process.stderr.write(`winnow: standard output: ${message}\n`);
    });
}
