import { Command } from 'commander';
import { serve } from '../main/server.ts';

/** `winnow serve`: flags, variables and files are read by src/config/load-config.ts, which knows them all; `--help` prints them. */
export function command(): Command {
  return new Command('serve')
    .description('Serve re-rankers over HTTP.')
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments()
    .action(async (_options: unknown, self: Command) => {
      await serve(self.args, process.env);
    });
}
