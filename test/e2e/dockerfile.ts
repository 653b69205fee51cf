import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

/*
 * Carries out a Dockerfile in plain folders, for machines without a container engine: every stage gets a folder that stands for its `/`, COPY
 * copies, RUN runs in a shell. Base images are not there; their node is this one.
 */

export interface Instruction {
  readonly keyword: string;
  readonly text: string;
}

export interface Stage {
  readonly name: string;
  /** Another stage, or an image. */
  readonly from: string;
  readonly instructions: readonly Instruction[];
}

/** Stages in order; continued lines are joined, comments are left out. */
export function parseDockerfile(text: string): readonly Stage[] {
  const stages: { name: string; from: string; instructions: Instruction[] }[] = [];
  const lines = text.replaceAll(/\\\n\s*/g, ' ').split('\n');
  for (const line of lines) {
    const [, keyword = '', rest = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    if (keyword === 'FROM') {
      const [, from = '', name = ''] = /^(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?$/.exec(rest) ?? [];
      stages.push({ name, from, instructions: [] });
    } else if (keyword) stages.at(-1)?.instructions.push({ keyword, text: rest });
  }
  return stages;
}

/** Whether .dockerignore lets a path of the context through. This one hides everything and names what may pass. */
export function passesIgnore(ignore: string, path: string): boolean {
  const rules = ignore.split('\n').filter((line) => line && !line.startsWith('#'));
  let passes = true;
  for (const rule of rules) {
    const pattern = rule.replace(/^!/, '');
    if (pattern === '*' || path === pattern || path.startsWith(`${pattern}/`)) passes = rule.startsWith('!');
  }
  return passes;
}

export interface BuildOptions {
  readonly stages: readonly Stage[];
  /** The build context. */
  readonly context: string;
  readonly ignore: string;
  /** Folder that gets one folder a stage. */
  readonly root: string;
  /** Runs a RUN line instead of the shell; true if it did. */
  readonly instead?: (command: string, cwd: string) => boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const environmentOf = (text: string) =>
  Object.fromEntries([...text.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]));

/** A stage that was carried out: where its files lie, and what a container of it would start with. */
export interface Built {
  readonly root: string;
  readonly workdir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Builds a stage and those it is made from. @throws Error where a COPY has nothing to copy or a RUN fails. */
export function buildStage(name: string, options: BuildOptions): Built {
  const stage = options.stages.find((s) => s.name === name);
  if (!stage) throw new Error(`no stage ${name}`);
  const base = options.stages.some((s) => s.name === stage.from) ? buildStage(stage.from, options) : undefined;
  const root = join(options.root, name);
  mkdirSync(root, { recursive: true });
  for (const [, other] of stage.instructions.flatMap(({ text }) => [...text.matchAll(/--from=(\S+)/g)]))
    if (!existsSync(join(options.root, other!)) && options.stages.some((s) => s.name === other))
      buildStage(other!, options);
  // Hard links are enough: the steps make and remove files, they change none.
  if (base) execFileSync('cp', ['-al', `${base.root}/.`, root]);
  let workdir = base?.workdir ?? '/';
  let env: Record<string, string | undefined> = { ...(base?.env ?? options.env) };
  for (const { keyword, text } of stage.instructions) {
    const here = join(root, workdir);
    if (keyword === 'WORKDIR') {
      workdir = text;
      mkdirSync(join(root, text), { recursive: true });
    } else if (keyword === 'ENV') env = { ...env, ...environmentOf(text) };
    else if (keyword === 'COPY') copy(text, here, options);
    else if (keyword === 'RUN' && !options.instead?.(text, here))
      execFileSync('sh', ['-ec', text], { cwd: here, env: env as NodeJS.ProcessEnv, stdio: 'pipe' });
  }
  return { root, workdir, env };
}

function copy(text: string, here: string, options: BuildOptions): void {
  const [, from] = /--from=(\S+)/.exec(text) ?? [];
  const words = text.split(/\s+/).filter((word) => !word.startsWith('--'));
  const sources = words.slice(0, -1);
  const target = resolve(here, words.at(-1)!);
  for (const source of sources) {
    const path = from ? join(options.root, from, source) : join(options.context, source);
    if (!from && !passesIgnore(options.ignore, source)) throw new Error(`.dockerignore hides ${source}`);
    if (!existsSync(path)) throw new Error(`COPY ${source}: there is none`);
    const into = words.at(-1)!.endsWith('/') ? join(target, basename(source)) : target;
    if (from) {
      mkdirSync(join(into, '..'), { recursive: true });
      execFileSync('cp', ['-al', path, into]);
    } else cpSync(path, into, { recursive: true });
  }
}

export const readStages = (file: string): readonly Stage[] => parseDockerfile(readFileSync(file, 'utf8'));
