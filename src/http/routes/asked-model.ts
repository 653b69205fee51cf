import type { Request } from 'express';
import { WinnowError } from '../../errors.ts';
import { cascadeNamed } from '../../rerank/named-cascades.ts';
import type { RerankRequest } from '../../rerank/rerank-types.ts';
import type { QueryRequest } from '../dialects/dialect.ts';
import type { HttpDeps } from '../ports.ts';
import { atVersion } from './models.ts';

/** Returns the model in a path of NVIDIA's hosted service: what follows the vendor's name. */
function hostedModel(hosted: string | string[] | undefined): string | undefined {
  const steps = hosted === undefined ? undefined : [hosted].flat();
  const own = steps?.[0] === 'nvidia' ? steps.slice(1) : steps;
  return own?.length ? own.join('/') : undefined;
}

/**
 * Returns the model that path and body name, by its own name, or the cascade of that name: experiments do not know aliases. A path that names
 * one decides, except those of NVIDIA's hosted service, which spell it otherwise than its clients' bodies (`3_2` for `3.2`).
 */
export function modelOf(
  req: Request,
  { registry, options }: HttpDeps,
  { model: named, cascade: sent }: QueryRequest,
): Pick<RerankRequest, 'model' | 'cascade'> {
  const { hosted, version, ...at } = req.params as { model?: string; version?: string; hosted?: string | string[] };
  const model = at.model ?? named ?? hostedModel(hosted);
  if (model !== undefined && version) return { model: atVersion(registry, model, version) };
  const asked = model ?? (sent ? undefined : options.defaultModel);
  if (asked === undefined) return {};
  const own = registry.canonical(asked);
  const cascade = cascadeNamed(options.cascades, asked, own);
  if (cascade && sent)
    throw new WinnowError('invalid_field', { expected: 'either a model or `cascade`', got: 'both', field: 'cascade' });
  if (cascade) return { cascade };
  return model === undefined ? {} : { model: own };
}
