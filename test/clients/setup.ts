import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { Client } from './catalog.ts';

const run = promisify(execFile);
const INSTALL_MS = 300_000;
const HERE = import.meta.dirname;

/** The command that runs a client's driver. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/** A folder name that changes with the packages, so that a new version is never served by an old folder. */
function folderOf({ name, packages }: Client): string {
  const hash = createHash('sha256').update(packages.join(' ')).digest('hex');
  return `${name.replaceAll(/\W+/g, '-').toLowerCase()}-${hash.slice(0, 8)}`;
}

/** Returns the reason a command failed, from its output: one line, without addresses. */
function reasonOf(error: unknown): string {
  const { stderr, stdout, message } = error as { stderr?: string; stdout?: string; message: string };
  const text = (stderr || stdout || message).trim().split('\n');
  const errors = text.filter((line) => /error|not found|no solution|forbidden/i.test(line));
  return (errors.length > 0 ? errors : text)
    .slice(0, 2)
    .join(' ')
    .replaceAll(/https?:\/\/\S+/g, '')
    .replaceAll(/\s+/g, ' ')
    .slice(0, 300);
}

async function tool(program: string, args: readonly string[], cwd?: string): Promise<void> {
  await run(program, args, { cwd, timeout: INSTALL_MS, maxBuffer: 2 ** 26 });
}

/** A virtual environment holding uv, which installs all the others; made once. */
async function uvOf(folder: string): Promise<string> {
  const uv = join(folder, 'uv/bin/uv');
  if (!existsSync(uv)) {
    await tool('python3', ['-m', 'venv', join(folder, 'uv')]);
    await tool(join(folder, 'uv/bin/pip'), ['install', '--quiet', 'uv']);
  }
  return uv;
}

async function installPython(client: Client, folder: string, place: string): Promise<void> {
  const uv = await uvOf(folder);
  await tool(uv, ['venv', '--quiet', '--python', 'python3', place]);
  await tool(uv, ['pip', 'install', '--quiet', '--python', join(place, 'bin/python'), ...client.packages]);
}

function pomOf(artifact: string): string {
  const [group, name, version] = artifact.split(':');
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>winnow</groupId><artifactId>clients</artifactId><version>1</version>
  <dependencies><dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${version}</version></dependency></dependencies>
</project>
`;
}

async function installJava(client: Client, place: string): Promise<void> {
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'pom.xml'), pomOf(client.packages[0]));
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies';
  await tool('mvn', ['--quiet', '--batch-mode', goal, '-DoutputDirectory=lib'], place);
}

async function installGo(client: Client, place: string): Promise<void> {
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'go.mod'), 'module winnow/clients\n\ngo 1.24\n');
  await tool('go', ['get', client.packages[0]], place);
}

/** Compiles the driver, where its language asks for that, and returns how to run it. */
async function build(client: Client, place: string): Promise<Command> {
  if (client.driver === undefined) throw new Error('there is none');
  const driver = join(HERE, client.language, client.driver);
  switch (client.language) {
    case 'python':
      return { program: join(place, 'bin/python'), args: ['-u', driver] };
    case 'java': {
      const [classes, jars] = [join(place, 'classes'), join(place, 'lib/*')];
      await tool('javac', ['-d', classes, '-cp', jars, join(HERE, 'java/Harness.java'), driver]);
      const [, artifact, version] = client.packages[0].split(':');
      const main = basename(client.driver, '.java');
      return { program: 'java', args: ['-cp', [classes, jars].join(delimiter), main, `${artifact} ${version}`] };
    }
    case 'go':
      await tool('go', ['build', '-mod=mod', '-o', join(place, 'driver'), driver], place);
      return { program: join(place, 'driver'), args: [] };
  }
}

/**
 * Installs a client into a folder of its own below `folder`, unless it is there, and returns how to run its driver.
 * @throws Error with the reason, in one line, if it cannot be installed, or its driver cannot be compiled.
 */
export async function install(client: Client, folder: string): Promise<Command> {
  const place = join(folder, folderOf(client));
  const done = join(place, 'installed');
  if (!existsSync(done)) {
    rmSync(place, { recursive: true, force: true });
    try {
      if (client.language === 'python') await installPython(client, folder, place);
      if (client.language === 'java') await installJava(client, place);
      if (client.language === 'go') await installGo(client, place);
    } catch (error) {
      throw new Error(reasonOf(error), { cause: error });
    }
    writeFileSync(done, '');
  }
  try {
    return await build(client, place);
  } catch (error) {
    throw new Error(`no driver: ${reasonOf(error)}`, { cause: error });
  }
}
