import { OpenAPIRegistry, OpenApiGeneratorV31, type RouteConfig } from '@asteasolutions/zod-to-openapi';
import { stringify } from 'yaml';
import { z } from 'zod';
import { CATALOG } from '../../errors.ts';
import { DIALECTS } from '../dialects/dispatch.ts';
import { ANSWER_HEADERS, REQUEST_HEADERS } from './headers.ts';
import { OPERATIONS, type Operation } from './operations.ts';

export type OpenApiDocument = ReturnType<OpenApiGeneratorV31['generateDocument']>;

const DESCRIPTION = [
  'One re-ranker, spoken to in the wire formats of its peers. Paths that several clients share tell them apart by the shape of the body:',
  '`texts` is Text Embeddings Inference, `documents` with `property` is Weaviate, `passages` is NIM, `documents` with `top_k` or a boolean',
  '`truncation` is Voyage, other `documents` are Cohere or Jina by the path. Unknown fields are ignored, null counts as absent.',
].join(' ');

const errorFields = {
  error_type: z.string().meta({ description: 'Kind, as Text Embeddings Inference spells it.' }),
  message: z.string(),
  detail: z.string(),
  code: z.string().meta({ description: 'Stable name; docs/errors.md has them all.' }),
  request_id: z.string(),
};

const errorSchema = z.object({ error: z.string(), ...errorFields }).meta({ id: 'Error' });

const objectErrorSchema = z
  .object({
    ...errorFields,
    object: z.literal('error'),
    type: z.string(),
    error: z.object({ message: z.string(), type: z.string(), code: z.string() }),
  })
  .meta({ id: 'ObjectError', description: "As vLLM's and NIM's clients read it." });

const json = (schema: z.ZodType) => ({ 'application/json': { schema } });

const oneOf = (members: readonly z.ZodType[]): z.ZodType =>
  members.length === 1 ? members[0]! : z.union(members as [z.ZodType, z.ZodType, ...z.ZodType[]]);

/** `/v2/models/:model` → `/v2/models/{model}`. */
export const openApiPath = (path: string) => path.replace(/:(\w+)/g, '{$1}');

const parametersIn = (path: string) => [...path.matchAll(/:(\w+)/g)].map((match) => match[1]!);

function errorAnswers(operation: Operation): RouteConfig['responses'] {
  const speaksObjects = operation.dialects?.some((name) => name === 'nim' || name === 'score') ?? false;
  const speaksStrings = operation.dialects?.some((name) => name !== 'nim' && name !== 'score') ?? true;
  const schema = oneOf([...(speaksStrings ? [errorSchema] : []), ...(speaksObjects ? [objectErrorSchema] : [])]);
  const byStatus = Map.groupBy(operation.errors, (code) => CATALOG[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      { description: codes.map((code) => `\`${code}\``).join(', '), content: json(schema) },
    ]),
  );
}

const requestHeaders = Object.keys(REQUEST_HEADERS).map((name) => ({ $ref: `#/components/parameters/${name}` }));

const answerHeaders = Object.fromEntries(
  Object.keys(ANSWER_HEADERS).map((name) => [name, { $ref: `#/components/headers/${name}` }]),
);

function registerHeaders(registry: OpenAPIRegistry): void {
  for (const [name, { description, schema }] of Object.entries(REQUEST_HEADERS))
    registry.registerComponent('parameters', name, { name, in: 'header', required: false, description, schema });
  for (const [name, { description, schema }] of Object.entries(ANSWER_HEADERS))
    registry.registerComponent('headers', name, { description, schema });
}

function plainAnswers(answers: NonNullable<Operation['answers']>): RouteConfig['responses'] {
  return Object.fromEntries(
    Object.entries(answers).map(([status, answer]) => {
      const description = status.startsWith('2') ? 'The answer.' : 'Not now.';
      if (answer === null) return [status, { description: 'Yes.' }];
      if (answer instanceof z.ZodType) return [status, { description, content: json(answer) }];
      const schema = answer.contentType === 'application/json' ? z.looseObject({}) : z.string();
      return [status, { description, content: { [answer.contentType]: { schema } } }];
    }),
  );
}

function requestOf(path: string, operation: Operation): NonNullable<RouteConfig['request']> {
  const parameters = parametersIn(path);
  const spoken = operation.dialects?.map((name) => DIALECTS[name]) ?? [];
  const body =
    spoken.length > 0 ? { schema: oneOf(spoken.map(({ schema }) => schema)), required: true } : operation.body;
  return {
    ...(parameters.length > 0
      ? { params: z.object(Object.fromEntries(parameters.map((name) => [name, z.string()]))) }
      : {}),
    ...(operation.query ? { query: operation.query } : {}),
    ...(body ? { body: { required: body.required, content: json(body.schema) } } : {}),
  };
}

function answersOf(operation: Operation): RouteConfig['responses'] {
  const spoken = operation.dialects?.map((name) => DIALECTS[name].answer) ?? [];
  const scored =
    spoken.length > 0
      ? { 200: { description: 'The scores.', headers: answerHeaders, content: json(oneOf([...new Set(spoken)])) } }
      : {};
  return { ...errorAnswers(operation), ...scored, ...plainAnswers(operation.answers ?? {}) };
}

function routeConfig(key: string, operation: Operation): RouteConfig {
  const [method = '', path = ''] = key.split(' ');
  return {
    method: method.toLowerCase() as RouteConfig['method'],
    path: openApiPath(path),
    operationId: `${method.toLowerCase()}${path.replace(/[^A-Za-z0-9]+(.?)/g, (_all, next: string) => next.toUpperCase()) || 'Root'}`,
    tags: [operation.tag],
    summary: operation.summary,
    security: operation.access === 'public' ? [] : [{ key: [operation.access] }],
    ...(operation.dialects ? { parameters: requestHeaders } : {}),
    request: requestOf(path, operation),
    responses: answersOf(operation),
  };
}

/** The description of the whole API, made from the schemas that parse its requests. */
export function buildDocument(): OpenApiDocument {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', 'key', {
    type: 'http',
    scheme: 'bearer',
    description:
      'An API key with the scope named (rerank, admin); `X-API-Key` works too. Only asked for where keys are configured.',
  });
  registerHeaders(registry);
  for (const [key, operation] of Object.entries(OPERATIONS)) registry.registerPath(routeConfig(key, operation));
  return new OpenApiGeneratorV31(registry.definitions, { unionPreferredType: 'anyOf' }).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'Winnow',
      version: '1.0.0',
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
  });
}

/** The text of openapi.yaml. */
export function documentText(document: OpenApiDocument): string {
  return stringify(document, { lineWidth: 140, aliasDuplicateObjects: false });
}
