import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, CommanderError } from 'commander';
import { beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.ts';
import { EXIT_CODES, exitCodeOf, failureMessage } from '../../src/cli/exit-codes.ts';
import { WinnowError } from '../../src/errors.ts';
import { winnow } from '../support/command.ts';

const ROOT = join(import.meta.dirname, '..', '..');

const withSubcommands = (command: Command): Command[] => [command, ...command.commands.flatMap(withSubcommands)];

describe('every command', () => {
  const loaded = new Map<string, Command>();
  beforeAll(async () => {
    for (const [name, { load }] of Object.entries(COMMANDS)) loaded.set(name, await load());
  });

  it.each(Object.keys(COMMANDS))('%s ends with 2 for a flag that it does not have', async (name) => {
    const { code, error } = await winnow(name, '--no-such-flag', 'x');
    expect([code, error]).toEqual([2, expect.stringMatching(/^winnow: /)]);
  });

  it('refuses a flag with two values, of which one would have no effect', async () => {
    const args = ['measure', '--qrels', 'a.txt', '--qrels', 'b.txt', '--run', 'c', 'RR'];
    expect(await winnow(...args)).toMatchObject({
      code: 2,
      error: 'winnow: --qrels: expected the flag once, got a.txt and b.txt\n',
    });
    const nested = ['models', 'list', '--models', 'a', '--models', 'b'];
    expect((await winnow(...nested)).error).toContain('--models: expected the flag once, got a and b');
    // Flags that collect values go on to what they name.
    const several = ['measure', '--qrels', 'nowhere.txt', '--run', 'a', '--run', 'b', '--json', '--json', 'RR'];
    expect((await winnow(...several)).error).toContain('nowhere.txt: expected a readable file');
  });

  it.each(Object.keys(COMMANDS))('%s has flags in kebab-case, and the same name for the registry folder', (name) => {
    for (const command of withSubcommands(loaded.get(name)!))
      for (const { long, description, hidden } of command.options) {
        if (hidden) continue;
        expect(long).toMatch(/^--[a-z0-9]+(-[a-z0-9]+)*$/);
        if (description.startsWith('registry folder')) expect(long).toBe('--models');
        expect(description, `${name} ${long}`).not.toBe('');
      }
  });

  it.each(Object.keys(COMMANDS).filter((name) => name !== 'serve'))('%s shows examples that can be copied', (name) => {
    let help = '';
    loaded
      .get(name)!
      .configureOutput({ writeOut: (text) => (help += text) })
      .outputHelp();
    const examples = help
      .slice(help.indexOf('Examples:'))
      .split('\n')
      .filter((line) => line.startsWith('  $ '));
    expect(examples.length).toBeGreaterThan(0);
    for (const line of examples) expect(line).toMatch(/npx winnow [a-z]/);
  });
});

describe('exit codes', () => {
  it.each([
    [2, []],
    [2, ['no-such-command']],
    [2, ['models', 'no-such-command']],
    [2, ['models', 'label', 'only-a-model']],
    [2, ['search', '--index', 'a', '--queries', 'b', '--out', 'c', '--depth', '0x10']],
    [2, ['search', '--index', 'a', '--queries', '/nowhere/queries.tsv', '--out', 'c']],
    [2, ['models', 'verify', 'nobody', '--models', '/nowhere']],
    [2, ['quantize', '/nowhere', '--data', 'x']],
    [2, ['quantize', 'a', '--data', 'x', '--registry', 'm', '--models', 'n']],
    [0, ['--help']],
    [0, ['models', 'pull', '--help']],
    [0, ['serve', '--help']],
  ] as const)('%i for winnow %j', async (code, args) => {
    expect((await winnow(...args)).code).toBe(code);
  });

  it('reach the shell', () => {
    const ended = (...args: string[]) =>
      spawnSync(process.execPath, [join(ROOT, 'bin', 'winnow.mjs'), ...args], { encoding: 'utf8' }).status;
    expect([ended('search', '--depth', 'many'), ended('--help')]).toEqual([2, 0]);
  });

  it('are 2 for what the user can correct and 1 for what fails on the way', () => {
    expect(exitCodeOf(new WinnowError('invalid_input', { where: 'x', expected: 'a', got: 'b' }))).toBe(2);
    expect(exitCodeOf(new WinnowError('training_diverged', { step: 1, reason: 'NaN' }))).toBe(1);
    expect(exitCodeOf(new WinnowError('host_lost', { reason: 'x' }))).toBe(1);
    expect(exitCodeOf(Object.assign(new Error('gone'), { code: 'ENOENT', path: '/x' }))).toBe(2);
    expect(exitCodeOf(new Error('a fault of the program'))).toBe(1);
    expect(exitCodeOf(new CommanderError(0, 'commander.help', ''))).toBe(0);
  });

  it('come with the stack only for faults of the program', () => {
    expect(failureMessage(Object.assign(new Error('gone'), { code: 'ENOENT', path: '/x' }))).toBe(
      '/x: expected a file or folder, got none',
    );
    expect(failureMessage(new Error('a fault'))).toContain('commands.test.ts');
    const full = (facts: object) => failureMessage(Object.assign(new Error('write'), facts));
    expect(full({ code: 'ENOSPC', path: '/x' })).toBe(
      '/x: expected to write to it, got a full disk; free space and run the command again',
    );
    expect(full({ code: 'EFBIG' })).toMatch(/^output: .*ulimit -f/);
    expect(full({ code: 'ERR_SQLITE_ERROR', errcode: 13 })).toContain('a full disk');
    expect(failureMessage(new CommanderError(1, 'commander.unknownOption', ''))).toBeUndefined();
  });

  it('stand in the help and in docs/errors.md', async () => {
    const page = readFileSync(join(ROOT, 'docs', 'errors.md'), 'utf8');
    const rows = [...page.matchAll(/^\| (\d) \| (.+) \|$/gm)].map(([, code, meaning]) => [code, meaning]);
    expect(rows).toEqual(Object.entries(EXIT_CODES));
    const { output } = await winnow('--help');
    for (const [code, meaning] of rows) expect(output).toContain(`  ${code}  ${meaning}`);
  });
});

describe('flags with an old name', () => {
  it.each([
    ['--registry', '--models', ['quantize', '/nowhere', '--data', 'x', '--registry', 'm']],
    ['--normalise', '--normalize', ['score', '--format', 'rank-llm', '--data', 'x', '--out', 'y', '--normalise', 'z']],
  ])('%s still works, with a line on standard error', async (old, now, args) => {
    const { error } = await winnow(...args);
    expect(error.split('\n')[0]).toBe(`winnow: '${old}' is spelled '${now}' now; the old spelling still works`);
  });

  it('take the values of the new one', async () => {
    const { code, error } = await winnow('score', '--format', 'trec', '--data', 'x', '--out', 'y', '--normalise', 'q');
    expect([code, error]).toEqual([2, 'winnow: --normalize: expected one of none, z, min-max, got "q" (string)\n']);
  });
});

describe('a command whose output cannot be written', () => {
  const HELP = `"${process.execPath}" bin/winnow.mjs train --help`;
  const bash = (script: string) => {
    const { status, stderr } = spawnSync('bash', ['-c', script], { cwd: ROOT, encoding: 'utf8' });
    return { status, stderr };
  };

  it('ends as usual where the reader has left', () => {
    // The reader has ended once the second descriptor of the pipe is the only one.
    const script = `exec 3> >(true); wait $!; ${HELP} >&3`;
    expect(bash(script)).toEqual({ status: 0, stderr: '' });
  });

  it('says so and ends with 1 where the disk is full', () => {
    const { status, stderr } = bash(`${HELP} > /dev/full`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^winnow: standard output: .*ENOSPC[^\n]*\n$/);
  });
});
