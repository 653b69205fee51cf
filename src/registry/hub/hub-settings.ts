import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { cacheFolder } from '../../util/cache-folder.ts';
import { excerpt, isName, isSafePath } from '../model-names.ts';

/*
 * What the environment says about the Hugging Face hub. Names and meaning of the variables are those of huggingface_hub ("Environment
 * variables"), so that a machine set up for Python programs needs nothing else. An empty variable counts as unset.
 */

export type Environment = Readonly<Record<string, string | undefined>>;

/** How the hub is reached and where its files are kept. */
export interface HubSettings {
  /** Without a slash at the end. */
  readonly endpoint: string;
  /** Sent to `endpoint` only. */
  readonly token: string | undefined;
  /** Whether only files of the cache are used. */
  readonly isOffline: boolean;
  /** Folder with one folder a repository, `models--org--name`. */
  readonly cache: string;
}

const HUB = 'https://huggingface.co';
const HUB_HOSTS = new Set(['huggingface.co', 'hf.co']);

const isSet = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '');

/** Returns the folder of huggingface_hub: cache and token. */
const homeOf = (env: Environment): string => env.HF_HOME || cacheFolder(env, 'huggingface');

/** Returns the token of the environment, else the one that `hf auth login` wrote. */
async function tokenOf(env: Environment): Promise<string | undefined> {
  if (isSet(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  const stated = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || env.HF_ACCESS_TOKEN;
  const file = env.HF_TOKEN_PATH || join(homeOf(env), 'token');
  const token = (stated || (await readFile(file, 'utf8').catch(() => ''))).trim();
  return token === '' ? undefined : token;
}

/** @throws WinnowError `invalid_field` unless it is an http(s) URL. */
export function checkEndpoint(endpoint: string): string {
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new WinnowError('invalid_field', { expected: 'an http(s) URL', got: excerpt(endpoint), field: 'endpoint' });
  return endpoint.replace(/\/+$/, '');
}

/** Whether a server is the hub itself, which alone gets the token when a command names the server. */
export const isHub = (endpoint: string): boolean => HUB_HOSTS.has(new URL(endpoint).hostname);

/**
 * Reads the settings of the hub.
 * @param endpoint Another server for this command alone; unlike that of HF_ENDPOINT it gets no token.
 * @throws WinnowError `invalid_field` for an endpoint that is no URL.
 */
export async function readHubSettings(env: Environment, endpoint?: string): Promise<HubSettings> {
  const checked = checkEndpoint(endpoint ?? (env.HF_ENDPOINT || HUB));
  const isTrusted = endpoint === undefined || isHub(checked);
  return {
    endpoint: checked,
    token: isTrusted ? await tokenOf(env) : undefined,
    isOffline: isSet(env.HF_HUB_OFFLINE) || isSet(env.TRANSFORMERS_OFFLINE),
    cache: env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(homeOf(env), 'hub'),
  };
}

/** A model of the hub. */
export interface HubReference {
  /** `organization/model`, or `model` alone for the oldest ones. */
  readonly id: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** Returns the address of a file. */
export const fileUrl = ({ id, revision }: HubReference, endpoint: string, path: string): string =>
  `${endpoint}/${id}/resolve/${encodeURIComponent(revision)}/${path.split('/').map(encodeURIComponent).join('/')}`;

/** Whether text may name a repository. The cache writes a slash as `--`. */
function isRepository(id: string): boolean {
  const parts = id.split('/');
  return parts.length <= 2 && parts.every(isName) && !id.includes('--');
}

/** @throws WinnowError `invalid_field` for text that is no repository or revision. */
export function checkReference({ id, revision }: HubReference): HubReference {
  if (!isRepository(id))
    throw new WinnowError('invalid_field', { expected: 'ORGANIZATION/MODEL', got: excerpt(id), field: 'repository' });
  if (!isSafePath(revision))
    throw new WinnowError('invalid_field', {
      expected: 'a branch, tag or commit',
      got: excerpt(revision),
      field: 'revision',
    });
  return { id, revision };
}

/** Parses `organization/model` or `organization/model@revision`; returns undefined for other text, such as a path. */
export function parseHubReference(text: string): HubReference | undefined {
  const [, id, revision = 'main'] = /^([^/@]+\/[^/@]+)(?:@(.+))?$/.exec(text) ?? [];
  if (id === undefined || !isRepository(id) || !isSafePath(revision)) return undefined;
  return { id, revision };
}
