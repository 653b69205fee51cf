import type { Command } from 'commander';
import { type SideStatement, sideStatement } from '../registry/weights-folder.ts';
import { POOLING_MODES, type PoolingMode } from '../util/pooling-modes.ts';
import { choiceOption } from './options.ts';

/** What flags say of a bi-encoder that is imported. */
export interface SideFlags {
  readonly biEncoder?: true;
  readonly pooling?: PoolingMode;
  readonly queryPrefix?: string;
  readonly passagePrefix?: string;
}

/** Adds the flags about bi-encoders to a command that imports a model. */
export const withSideFlags = (command: Command): Command =>
  command
    .option('--bi-encoder', 'import it as a bi-encoder, where no modules.json says so')
    .addOption(
      choiceOption(
        '--pooling <mode>',
        'how states of tokens become the vector of a text, where no modules.json says it',
        POOLING_MODES,
      ),
    )
    .option('--query-prefix <text>', 'text before each query of a bi-encoder (default: what the model states)')
    .option('--passage-prefix <text>', 'text before each passage of a bi-encoder (default: what the model states)');

/** Returns what the flags say; undefined where none is given. */
export const sidesOf = ({ biEncoder, pooling, queryPrefix, passagePrefix }: SideFlags): SideStatement | undefined =>
  sideStatement({ biEncoder, pooling, queryPrefix, passagePrefix });
