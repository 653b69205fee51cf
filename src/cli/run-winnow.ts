import { Command } from 'commander';
import { COMMANDS } from './commands.ts';
import { EXIT_CODES, type ExitCode, exitCodeOf, failureMessage } from './exit-codes.ts';

const AFTER_HELP = `
\`npx winnow COMMAND --help\` shows a command with examples.

Exit codes:
${Object.entries(EXIT_CODES)
  .map(([code, meaning]) => `  ${code}  ${meaning}`)
  .join('\n')}`;

/** Makes a command and those below it throw instead of ending the process, and name the program in their errors. */
function throwErrors(command: Command): void {
  command.exitOverride();
  command.configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, 'winnow:')) });
  command.commands.forEach(throwErrors);
}

/** Runs the command that `argv` names, as in `process.argv`. Prints failures on standard error. @returns the exit code of a failure. */
export async function runWinnow(argv: readonly string[]): Promise<ExitCode> {
  const name = argv[2];
  const entry = name === undefined ? undefined : COMMANDS[name];
  const program = new Command('npx winnow').description('Serve, train and judge re-rankers with one engine.');
  try {
    if (entry) program.addCommand((await entry.load()).name(name!));
    else for (const [other, { summary }] of Object.entries(COMMANDS)) program.command(other).description(summary);
    program.addHelpText('after', AFTER_HELP);
    throwErrors(program);
    await program.parseAsync([...argv]);
    return 0;
  } catch (error) {
    const message = failureMessage(error);
    if (message !== undefined) process.stderr.write(`winnow: ${message}\n`);
    return exitCodeOf(error);
  }
}
