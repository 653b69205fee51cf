import type { RequestHandler } from 'express';

const SLASHES = /\/{2,}/g;

/** Removes a prefix of whole segments. */
function withoutPrefix(path: string, prefix: string): string {
  if (prefix === '' || !path.startsWith(prefix)) return path;
  const rest = path.slice(prefix.length);
  return rest === '' || rest.startsWith('/') ? rest || '/' : path;
}

/** Splits a URL of a request into its path, with single slashes and without the prefix, and the rest. */
export function partsOf(url: string, basePath: string): { readonly path: string; readonly query: string } {
  const mark = url.indexOf('?');
  const end = mark === -1 ? url.length : mark;
  return { path: withoutPrefix(url.slice(0, end).replace(SLASHES, '/'), basePath), query: url.slice(end) };
}

/** Paths of KServe and Triton with the name of a model inside. */
const MODEL_PATH =
  /^(\/v2(?:\/repository)?\/models\/)(.+?)((?:\/versions\/[^/]+)?(?:\/(?:infer|ready|config|stats|load|unload))?)$/;

/** Encodes the slashes of a model's name, which clients of Triton leave as they are: `org/name` is one segment. */
const withWholeName = (path: string, method: string): string =>
  path.replace(MODEL_PATH, (whole, start: string, name: string, end: string) =>
    // What ends in no known word is metadata, which is only read; other methods get the answer for an unknown path.
    end !== '' || method === 'GET' ? start + name.replaceAll('/', '%2F') + end : whole,
  );

/**
 * Makes the path of a request plain before routes are looked up: several slashes count as one, as clients join a base URL that ends with
 * a slash, the prefix under which a proxy publishes the service is left out, and a model's name is one segment.
 * @param basePath starts with a slash and does not end with one; empty for none. Paths without it, as probes use them, stay as they are.
 */
export function plainPath(basePath: string): RequestHandler {
  return function makePathPlain(req, _res, next) {
    const { path, query } = partsOf(req.url, basePath);
    req.url = withWholeName(path, req.method) + query;
    next();
  };
}
