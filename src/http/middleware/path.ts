import type { RequestHandler } from 'express';

const SLASHES = /\/{2,}/g;

/** Removes a prefix of whole segments. */
function withoutPrefix(path: string, prefix: string): string {
  if (prefix === '' || !path.startsWith(prefix)) return path;
  const rest = path.slice(prefix.length);
  return rest === '' || rest.startsWith('/') ? rest || '/' : path;
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
    const mark = req.url.indexOf('?');
    const end = mark === -1 ? req.url.length : mark;
    const path = req.url.slice(0, end).replace(SLASHES, '/');
    req.url = withWholeName(withoutPrefix(path, basePath), req.method) + req.url.slice(end);
    next();
  };
}
