/**
 * Handles write errors of standard output and standard error. If the reader closes the pipe (`winnow measure … | head`), further output is
 * dropped and the command continues. Any other error, such as a full disk, sets the exit code to 1.
 */
export function surviveClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'EPIPE') return;
      process.exitCode = 1;
      if (stream === process.stdout) process.stderr.write(`winnow: standard output: ${message}\n`);
    });
}
