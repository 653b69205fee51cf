import { Command } from 'commander';
import { serve } from '../main/server.ts';

/** Makes `winnow serve`. src/config/load-config.ts reads its flags and prints its help, from one list of settings. */
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
