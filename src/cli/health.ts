import { Command, Option } from 'commander';
import type { Config } from '../config/config-schema.ts';
import { loadConfig } from '../config/load-config.ts';

/** Every address of the machine; a connection has to name one of them. */
const EVERY: Readonly<Record<string, string>> = { '::': 'localhost', '0.0.0.0': '127.0.0.1' };

/** Returns the address of a health route of the server that these settings start. */
function healthUrl({ server }: Config, route: 'ready' | 'live'): string {
  const host = EVERY[server.host] ?? server.host;
  return `http://${host.includes(':') ? `[${host}]` : host}:${server.port}/health/${route}`;
}

interface Health {
  readonly isGood: boolean;
  /** What the server said, or why it could not be asked. */
  readonly text: string;
}

async function ask(url: string, timeoutMs: number): Promise<Health> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'error' });
    return { isGood: response.ok, text: await response.text() };
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    return { isGood: false, text: `no answer: ${cause instanceof Error ? cause.message : String(cause)}` };
  }
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
      const url = healthUrl(loadConfig(self.args, process.env), live ? 'live' : 'ready');
      const { isGood, text } = await ask(url, ms);
      process.stdout.write(`${url}  ${text}\n`);
      if (!isGood) process.exitCode = 1;
    });
}
