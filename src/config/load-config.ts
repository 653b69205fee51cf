import { statSync } from 'node:fs';
import { join } from 'node:path';
import { stringify as stringifyYaml } from 'yaml';
import { describe, WinnowError } from '../errors.ts';
import { cacheFolder } from '../util/cache-folder.ts';
import { nearestName } from '../util/nearest.ts';
import { valueAt } from '../util/schema-issues.ts';
import { fieldName, readSpelling, warnOfOld, writeSpelling } from '../util/spelling.ts';
import { readYamlFile } from '../util/yaml-file.ts';
import { fromText } from './cascade-settings.ts';
import { type Config, configSchema } from './config-schema.ts';
import { TOGGLE } from './setting-fields.ts';
import { ALIASES, emptyTree, type Setting, settings, variablePrefix } from './setting-list.ts';

/*
 * A flag overrides a variable, and a variable overrides the file. The place of a setting in the file (`server.port`), its variable
 * (`WINNOW_SERVER_PORT`) and its flag (`--server-port`) follow from its path. The other names (`PORT`, `--models`) are in ALIASES.
 */

type Tree = Record<string, Record<string, unknown>>;
type Environment = Readonly<Record<string, string | undefined>>;

/** Values gathered so far, the place of each, and what is wrong with them. */
interface Gathering {
  readonly tree: Tree;
  /** Path of a setting → file, variable or flag it came from. */
  readonly origins: Map<string, string>;
  readonly faults: string[];
}

/** Stores the text of a flag or variable; either spelling of a value is accepted. */
function putText(gathering: Gathering, { path, schema }: Setting, text: string, name: string): void {
  const { document: value, old } = readSpelling(schema, text, [name]);
  warnOfOld(old);
  put(gathering, path, value, name);
}

function put({ tree, origins }: Gathering, path: string, value: unknown, origin: string): void {
  const [section = '', key = ''] = path.split('.');
  tree[section] = { ...tree[section], [key]: value };
  origins.set(path, origin);
}

function unknown(what: string, name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known, 3);
  const hint = nearest === undefined ? '' : `; did you mean ${nearest}?`;
  return `${name}: expected a known ${what}, got an unknown one${hint}`;
}

function gatherFile(path: string, gathering: Gathering, known: readonly Setting[]): void {
  const { faults } = gathering;
  let parsed: unknown;
  try {
    parsed = readYamlFile(path).document ?? {};
  } catch (error) {
    faults.push((error as Error).message);
    return;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    faults.push(`${path}: expected a mapping of sections, got ${describe(parsed)}`);
    return;
  }
  const { document, old, issues } = readSpelling(configSchema, parsed);
  warnOfOld(old);
  faults.push(...issues.map((issue) => `${path}: ${fieldName(issue.path)}: ${issue.message}`));
  const paths = known.map((s) => s.path);
  const sections = Object.keys(configSchema.shape);
  for (const [section, body] of Object.entries(document as Record<string, unknown>)) {
    if (!sections.includes(section)) faults.push(`${path}: ${unknown('section', section, sections)}`);
    else if (body !== null && (typeof body !== 'object' || Array.isArray(body)))
      faults.push(`${path}: ${section}: expected a mapping of settings, got ${describe(body)}`);
    else
      for (const [key, value] of Object.entries(body ?? {})) {
        const setting = `${section}.${key}`;
        if (!paths.includes(setting)) faults.push(`${path}: ${unknown('setting', setting, paths)}`);
        else if (value !== null) put(gathering, setting, value, `${path}: ${setting}`);
      }
  }
}

function gatherEnvironment(env: Environment, gathering: Gathering, known: readonly Setting[]): void {
  // The derived name is the more exact one: it wins over an alias such as PORT.
  for (const setting of known)
    for (const name of [...setting.aliases.filter((alias) => !alias.startsWith('-')), setting.env])
      if (env[name]) putText(gathering, setting, env[name], name);
  const names = known.map((s) => s.env);
  const prefixes = Object.keys(configSchema.shape).map(variablePrefix);
  for (const name of Object.keys(env))
    if (!names.includes(name) && !(name in ALIASES) && prefixes.some((prefix) => name.startsWith(prefix)))
      gathering.faults.push(unknown('variable', name, names));
}

interface Flag {
  readonly name: string;
  readonly value: string | undefined;
}

/** Reads `--a b` and `--a=b`. Text that begins with `--` is never the value of the flag before it. */
function readFlags(argv: readonly string[]): Flag[] {
  const flags: Flag[] = [];
  for (let i = 0; i < argv.length; i++) {
    const [name = '', inline] = argv[i]!.split(/=(.*)/s);
    const next = argv[i + 1];
    if (inline === undefined && next !== undefined && !next.startsWith('--')) {
      flags.push({ name, value: next });
      i++;
    } else flags.push({ name, value: inline });
  }
  return flags;
}

function gatherFlags(flags: readonly Flag[], gathering: Gathering, known: readonly Setting[]): void {
  const flagsOf = ({ flag, aliases }: Setting) => [flag, ...aliases.filter((alias) => alias.startsWith('-'))];
  const byFlag = new Map(known.flatMap((setting) => flagsOf(setting).map((name) => [name, setting] as const)));
  const names = [...byFlag.keys(), '--config'];
  const lists = new Map<string, string>();
  for (const { name, value: given } of flags) {
    const setting = byFlag.get(name);
    const last = given ?? (setting?.kind === TOGGLE ? 'true' : undefined);
    const earlier = setting?.isList ? lists.get(setting.path) : undefined;
    const value = earlier === undefined || last === undefined ? last : `${earlier},${last}`;
    if (setting?.isList && value !== undefined) lists.set(setting.path, value);
    if (setting === undefined && name !== '--config') gathering.faults.push(unknown('flag', name, names));
    else if (value === undefined) gathering.faults.push(`${name}: expected a value, got nothing`);
    else if (setting !== undefined) putText(gathering, setting, value, name);
  }
}

const FOLDER = 'registry.folder';

/**
 * Chooses the folder into which models are imported when none is named: the default one is for models that were put there on purpose.
 * @returns Whether the folder has to exist.
 */
function chooseFolder(gathering: Gathering, env: Environment): boolean {
  const { sources, folder } = gathering.tree.registry ?? {};
  if (!sources || (Array.isArray(sources) && sources.length === 0) || folder !== undefined) return true;
  put(gathering, FOLDER, join(cacheFolder(env), 'models'), 'registry.sources');
  return false;
}

/** Adds a fault for each setting whose file or folder is missing or of the wrong kind. */
function checkDisk({ tree, origins, faults }: Gathering, known: readonly Setting[]): void {
  for (const { path, section, onDisk, default: initial } of known) {
    const value = tree[section]?.[path.split('.')[1]!] ?? initial;
    if (!onDisk || typeof value !== 'string' || value === '') continue;
    const found = statSync(value, { throwIfNoEntry: false });
    if (!(onDisk === 'folder' ? found?.isDirectory() : found?.isFile()))
      faults.push(
        `${origins.get(path) ?? path}: expected a ${onDisk}, got ${value}, which is ${found ? `a ${found.isDirectory() ? 'folder' : 'file'}` : 'missing'}`,
      );
  }
}

/** Adds a fault where several devices are set for a provider that has no choice of devices, or cannot share the processes equally. */
function checkDevices({ provider, device, hosts }: Config['inference'], faults: string[]): void {
  const devices = [device].flat();
  if (devices.length === 1) return;
  if (provider === 'cpu' || provider === 'webgpu')
    faults.push(
      `inference.device: expected one device, since inference.provider ${provider} cannot choose between devices, got ${devices.join(', ')}`,
    );
  else if (hosts % devices.length !== 0)
    faults.push(
      `inference.hosts: expected 0 or a multiple of the ${devices.length} devices of inference.device, got ${hosts}`,
    );
}

/** The least memory of a passage cache that is on. */
const LEAST_PASSAGE_BYTES = 2 ** 20;

function checkPassages({ passageBytes, passageFile, shared }: Config['cache'], faults: string[]): void {
  if (passageBytes === undefined) return;
  if (passageBytes > 0 && passageBytes < LEAST_PASSAGE_BYTES)
    faults.push(`cache.passageBytes: expected 0 or at least ${LEAST_PASSAGE_BYTES} (1 MiB), got ${passageBytes}`);
  if (passageBytes === 0 && shared)
    faults.push('cache.shared: expected false, since cache.passageBytes is 0 and nothing is kept, got true');
  if (passageBytes === 0 && passageFile !== undefined)
    faults.push('cache.passageFile: expected none, since cache.passageBytes is 0 and nothing is kept, got a file');
}

/** Adds a fault for each setting about models of `registry.sources` where there are none. */
function checkSources({ registry }: Config, faults: string[]): void {
  const { sources, biEncoder, pooling, queryPrefix, passagePrefix } = registry;
  if (sources.length > 0) return;
  const given = { biEncoder: biEncoder || undefined, pooling, queryPrefix, passagePrefix };
  for (const [key, value] of Object.entries(given))
    if (value !== undefined)
      faults.push(`registry.${key}: expected models in registry.sources, whose import it describes, got ${value}`);
}

/** Adds a fault for each name that means both a model and a cascade. */
function checkNames({ aliases, cascades }: Config['registry'], faults: string[]): void {
  for (const name of Object.keys(cascades).filter((one) => one === '*' || Object.hasOwn(aliases, one)))
    faults.push(
      name === '*'
        ? 'registry.cascades: expected names, got *, which only registry.aliases has'
        : `registry.cascades: expected names that registry.aliases does not have, got ${name}`,
    );
}

function checkTogether(config: Config, faults: string[]): void {
  checkNames(config.registry, faults);
  checkDevices(config.inference, faults);
  checkPassages(config.cache, faults);
  checkSources(config, faults);
  const { outageGraceMs, outageLimitMs } = config.inference;
  if (outageLimitMs > 0 && outageLimitMs < outageGraceMs)
    faults.push(
      `inference.outageLimitMs: expected 0 or at least inference.outageGraceMs (${outageGraceMs}), got ${outageLimitMs}`,
    );
  const { port, adminPort } = config.server;
  if (adminPort !== undefined && adminPort > 0 && adminPort === port)
    faults.push(`server.adminPort: expected another port than server.port, got ${adminPort} for both`);
  const { batchTokens, queueTokens } = config.scheduling;
  if (queueTokens < batchTokens)
    faults.push(
      `scheduling.queueTokens: expected at least scheduling.batchTokens (${batchTokens}), got ${queueTokens}`,
    );
}

function freezeDeep<T extends object>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === 'object' && inner !== null) freezeDeep(inner);
  return Object.freeze(value);
}

/** Returns what was set at a place, also inside the JSON of a flag or variable. */
function setAt(tree: Tree, path: readonly PropertyKey[]): unknown {
  const [section, key, ...inside] = path;
  const value = tree[String(section)]?.[String(key)];
  return valueAt(typeof value === 'string' && inside.length > 0 ? fromText(value) : value, inside);
}

/**
 * Builds the configuration from flags, variables and file, and freezes it with all that is in it.
 * @throws WinnowError `invalid_config` with every fault and the flag, variable or place in the file of each.
 */
export function loadConfig(argv: readonly string[], env: Environment): Config {
  const known = settings();
  const gathering: Gathering = { tree: emptyTree(), origins: new Map(), faults: [] };
  const { faults, origins, tree } = gathering;
  const flags = readFlags(argv);
  const file = flags.findLast(({ name }) => name === '--config')?.value ?? env.WINNOW_CONFIG;
  if (file) gatherFile(file, gathering, known);
  gatherEnvironment(env, gathering, known);
  gatherFlags(flags, gathering, known);
  const isOwnFolder = chooseFolder(gathering, env);
  checkDisk(gathering, isOwnFolder ? known : known.filter(({ path }) => path !== FOLDER));
  const result = configSchema.safeParse(tree);
  if (result.success) checkTogether(result.data, faults);
  for (const { path, message } of result.error?.issues ?? []) {
    const setting = `${String(path[0])}.${String(path[1])}`;
    const hidden = known.find((s) => s.path === setting)?.secret;
    const inside = path.length > 3 ? `: ${path.slice(2).join('.')}` : '';
    faults.push(
      `${origins.get(setting) ?? setting}${inside}: ${message}, got ${hidden ? 'something else' : describe(setAt(tree, path))}`,
    );
  }
  if (!result.success || faults.length > 0)
    throw new WinnowError('invalid_config', { count: faults.length, faults: faults.map((f) => `  - ${f}`).join('\n') });
  return freezeDeep(result.data);
}

/** Returns the settings in effect as YAML that `--config` can read. Secrets appear as `[secret]`. */
export function printConfig(config: Config): string {
  return stringifyYaml(writeSpelling(configSchema, JSON.parse(JSON.stringify(config))));
}
