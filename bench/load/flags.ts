import { type ParseArgsOptionDescriptor, parseArgs } from 'node:util';

/** One flag of a benchmark. Flags without `help` are for the benchmark's own child processes and are not listed. */
export interface Flag extends ParseArgsOptionDescriptor {
  readonly help?: string;
}

type Flags = Readonly<Record<string, Flag>>;
type Values<T extends Flags> = ReturnType<typeof parseArgs<{ options: T }>>['values'];

/** Lists the flags with their defaults, one a line. */
function flagLines(flags: Flags): string {
  const rows = Object.entries(flags).flatMap(([name, { type, help, default: value }]) =>
    help === undefined ? [] : [{ flag: `--${name}${type === 'string' ? ' <value>' : ''}`, help, value }],
  );
  const width = Math.max(...rows.map(({ flag }) => flag.length));
  return rows
    .map(({ flag, help, value }) => {
      const shown = value === undefined || value === false || value === '' ? '' : ` (default: ${value})`;
      return `  ${flag.padEnd(width)}  ${help}${shown}`;
    })
    .join('\n');
}

/**
 * Parses the flags of a benchmark. `--help` prints what the benchmark does and prints, and its flags, and ends the process.
 *
 * @param about what is measured, and what every part of the output means.
 */
export function readFlags<const T extends Flags>(name: string, about: string, flags: T): Values<T> {
  const options: Record<string, Flag> = { ...flags, help: { type: 'boolean', default: false } };
  const { help, ...values } = parseArgs({ options }).values;
  if (help === true) {
    const lines = flagLines({ ...flags, help: { type: 'boolean', help: 'Print this text.' } });
    process.stdout.write(`npm run bench:${name} -- [flags]\n\n${about.trim()}\n\n${lines}\n`);
    process.exit(0);
  }
  return values as Values<T>;
}
