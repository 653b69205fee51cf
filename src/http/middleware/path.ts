import type { RequestHandler } from 'express';

const SLASHES = /\/{2,}/g;

/** Removes a prefix of whole segments. */
function withoutPrefix(path: string, prefix: string): string {
  if (prefix === '' || !path.startsWith(prefix)) return path;
  const rest = path.slice(prefix.length);
  return rest === '' || rest.startsWith('/') ? rest || '/' : path;
}

/**
 * Makes the path of a request plain before routes are looked up: several slashes count as one, as clients join a base URL that ends with
 * a slash, and the prefix under which a proxy publishes the service is left out.
 * @param basePath starts with a slash and does not end with one; empty for none. Paths without it, as probes use them, stay as they are.
 */
export function plainPath(basePath: string): RequestHandler {
  return function makePathPlain(req, _res, next) {
    const mark = req.url.indexOf('?');
    const end = mark === -1 ? req.url.length : mark;
    const path = req.url.slice(0, end).replace(SLASHES, '/');
    req.url = withoutPrefix(path, basePath) + req.url.slice(end);
    next();
  };
}
