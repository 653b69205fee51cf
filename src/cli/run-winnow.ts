import { Command } from 'commander';
import { WinnowError } from '../errors.ts';
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

/**
 * Makes a command refuse a flag that is given two values, because the first would have no effect. Flags that collect values may be repeated:
 * their parser has a second parameter, the values so far.
 */
function refuseRepeats(command: Command): void {
  for (const option of command.options) {
    if (option.isBoolean() || option.variadic || option.parseArg?.length === 2) continue;
    let first: string | undefined;
    command.on(`option:${option.name()}`, (value: string) => {
      if (first !== undefined && first !== value) {
        const where = option.long ?? option.flags;
        throw new WinnowError('invalid_input', { where, expected: 'the flag once', got: `${first} and ${value}` });
      }
      first = value;
    });
  }
  command.commands.forEach(refuseRepeats);
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
    refuseRepeats(program);
    await program.parseAsync([...argv]);
    return 0;
  } catch (error) {
    const message = failureMessage(error);
    if (message !== undefined) process.stderr.write(`winnow: ${message}\n`);
    return exitCodeOf(error);
  }
}
