import { Command, Option } from 'commander';
import type { Config } from '../config/config-schema.ts';
import { loadConfig } from '../config/load-config.ts';

/** Addresses at which a server on every address is reached; names are not resolved, since containers may know none. */
const LOOPBACK: Readonly<Record<string, readonly string[]>> = { '::': ['127.0.0.1', '::1'], '0.0.0.0': ['127.0.0.1'] };

/** Returns the addresses of a health route of the server that these settings start. */
const healthUrls = ({ server: { host, port } }: Config, route: 'ready' | 'live'): readonly string[] =>
  (LOOPBACK[host] ?? [host]).map((name) => `http://${name.includes(':') ? `[${name}]` : name}:${port}/health/${route}`);

interface Health {
  readonly url: string;
  readonly isGood: boolean;
  /** What the server said, or why it could not be asked. */
  readonly text: string;
  /** Whether nothing listens at this address. */
  readonly isAbsent?: boolean;
}

async function ask(url: string, timeoutMs: number): Promise<Health> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'error' });
    return { url, isGood: response.ok, text: await response.text() };
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    const text = `no answer: ${cause instanceof Error ? cause.message : String(cause)}`;
    return { url, isGood: false, text, isAbsent: !(cause instanceof Error && cause.name === 'TimeoutError') };
  }
}

/** Asks the addresses in turn, until something listens. */
async function askAny([first = '', ...others]: readonly string[], timeoutMs: number): Promise<Health> {
  const found = await ask(first, timeoutMs);
  return found.isAbsent && others.length > 0 ? askAny(others, timeoutMs) : found;
}

interface Options {
  readonly live?: boolean;
  readonly timeoutMs: string;
}

/** Makes `winnow health`: exit code 0 if the server of these settings is ready (or alive), 1 if not, 2 for wrong settings. */
export function command(): Command {
  return new Command('health')
    .description(
      'Ask the server on this machine whether it is ready. Address and port are those of `winnow serve`: from the same variables, file and flags.',
    )
    .addOption(new Option('--live', 'ask whether the process answers, in place of whether it can score'))
    .addOption(new Option('--timeout-ms <ms>', 'time for the answer').default('2000'))
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText(
      'after',
      `
Examples:
  $ npx winnow health                              # exit code 0 if ready, 1 if not
  $ npx winnow health --live --server-port 9000`,
    )
    .action(async ({ live, timeoutMs }: Options, self: Command) => {
      const ms = Number(timeoutMs);
      if (!Number.isInteger(ms) || ms < 1 || ms > 60_000)
        self.error(`error: option '--timeout-ms <ms>': expected a whole number from 1 to 60000, got ${timeoutMs}`);
      const urls = healthUrls(loadConfig(self.args, process.env), live ? 'live' : 'ready');
      const { url, isGood, text } = await askAny(urls, ms);
      process.stdout.write(`${url}  ${text}\n`);
      if (!isGood) process.exitCode = 1;
    });
}
