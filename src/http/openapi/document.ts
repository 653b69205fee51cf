import { OpenAPIRegistry, OpenApiGeneratorV31, type RouteConfig } from '@asteasolutions/zod-to-openapi';
import { stringify } from 'yaml';
import { z } from 'zod';
import { CATALOG } from '../../errors.ts';
import type { AnyDialect } from '../dialects/dialect.ts';
import { DIALECTS, SCORING_PATHS } from '../dialects/dispatch.ts';
import { stringErrors } from '../dialects/errors.ts';
import { ANSWER_HEADERS, REQUEST_HEADERS, TENSOR_HEADERS } from './headers.ts';
import { OPERATIONS, type Operation } from './operations.ts';

export type OpenApiDocument = ReturnType<OpenApiGeneratorV31['generateDocument']>;

function describeApi(): string {
  const marked = DIALECTS.flatMap(({ marks, docs }) => (marks ? `${marks.text}: ${docs.title}` : []));
  const paths = Map.groupBy(
    SCORING_PATHS.filter((at) => at.marked.length > 0),
    (at) => at.dialect,
  );
  const byPath = [...paths].map(
    ([{ docs }, list]) => `${docs.title} at ${list.map(({ path }) => `\`${path}\``).join(', ')}`,
  );
  return [
    'A re-ranker that accepts the wire formats of several services.',
    'Where formats share a path, the body decides by the first of these marks that it has:',
    `${marked.join('; ')}.`,
    `Without any of them the path decides: ${byPath.join('; ')}.`,
    'Unknown fields are ignored; null counts as absent.',
  ].join(' ');
}

const json = (schema: z.ZodType) => ({ 'application/json': { schema } });

const oneOf = (members: readonly z.ZodType[]): z.ZodType =>
  members.length === 1 ? members[0]! : z.union(members as [z.ZodType, z.ZodType, ...z.ZodType[]]);

/** Spells an Express path as OpenAPI does: `/v2/models/:model` → `/v2/models/{model}`. */
export const openApiPath = (path: string) => path.replace(/[:*](\w+)/g, '{$1}');

const parametersIn = (path: string) => [...path.matchAll(/[:*](\w+)/g)].map((match) => match[1]!);

function errorAnswers(operation: Operation): RouteConfig['responses'] {
  const forms = operation.dialects?.map(({ errors }) => errors.schema) ?? [stringErrors.schema];
  const schema = oneOf([...new Set(forms)]);
  const byStatus = Map.groupBy(operation.errors, (code) => CATALOG[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      { description: codes.map((code) => `\`${code}\``).join(', '), content: json(schema) },
    ]),
  );
}

/** JSON, with the bytes of tensors behind it where a dialect takes them. */
const jsonAndBytes = (
  schema: z.ZodType,
  dialects: readonly AnyDialect[],
): Readonly<Record<string, { readonly schema: z.ZodType }>> =>
  dialects.some(({ takesBytes }) => takesBytes)
    ? { ...json(schema), 'application/octet-stream': { schema: z.string().meta({ format: 'binary' }) } }
    : json(schema);

const namesFor = (dialects: readonly AnyDialect[], headers: object) => [
  ...Object.keys(headers),
  ...(dialects.some(({ takesBytes }) => takesBytes) ? Object.keys(TENSOR_HEADERS) : []),
];

const requestHeaders = (dialects: readonly AnyDialect[]) =>
  namesFor(dialects, REQUEST_HEADERS).map((name) => ({ $ref: `#/components/parameters/${name}` }));

const answerHeaders = (dialects: readonly AnyDialect[]) =>
  Object.fromEntries(
    namesFor(dialects, ANSWER_HEADERS).map((name) => [name, { $ref: `#/components/headers/${name}` }]),
  );

function registerHeaders(registry: OpenAPIRegistry): void {
  for (const [name, { description, schema }] of Object.entries({ ...REQUEST_HEADERS, ...TENSOR_HEADERS }))
    registry.registerComponent('parameters', name, { name, in: 'header', required: false, description, schema });
  for (const [name, { description, schema }] of Object.entries({ ...ANSWER_HEADERS, ...TENSOR_HEADERS }))
    registry.registerComponent('headers', name, { description, schema });
}

function plainAnswers(answers: NonNullable<Operation['answers']>): RouteConfig['responses'] {
  return Object.fromEntries(
    Object.entries(answers).map(([status, answer]) => {
      const description = status.startsWith('2') ? 'The answer.' : 'Not ready.';
      if (answer === null) return [status, { description: 'No content.' }];
      if (answer instanceof z.ZodType) return [status, { description, content: json(answer) }];
      const schema = answer.contentType === 'application/json' ? z.looseObject({}) : z.string();
      return [status, { description, content: { [answer.contentType]: { schema } } }];
    }),
  );
}

function requestOf(path: string, operation: Operation): NonNullable<RouteConfig['request']> {
  const parameters = parametersIn(path);
  const body = operation.dialects
    ? { schema: oneOf(operation.dialects.map(({ schema }) => schema)), required: true }
    : operation.body;
  return {
    ...(parameters.length > 0
      ? { params: z.object(Object.fromEntries(parameters.map((name) => [name, z.string()]))) }
      : {}),
    ...(operation.query ? { query: operation.query } : {}),
    ...(body
      ? { body: { required: body.required, content: jsonAndBytes(body.schema, operation.dialects ?? []) } }
      : {}),
  };
}

function scoringAnswer(dialects: readonly AnyDialect[]): RouteConfig['responses'] {
  const schema = oneOf([...new Set(dialects.map(({ answer }) => answer))]);
  return {
    200: { description: 'The scores.', headers: answerHeaders(dialects), content: jsonAndBytes(schema, dialects) },
  };
}

function answersOf(operation: Operation): RouteConfig['responses'] {
  return {
    ...errorAnswers(operation),
    ...(operation.dialects ? scoringAnswer(operation.dialects) : {}),
    ...plainAnswers(operation.answers ?? {}),
  };
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
    ...(operation.dialects ? { parameters: requestHeaders(operation.dialects) } : {}),
    request: requestOf(path, operation),
    responses: answersOf(operation),
  };
}

/** Builds the description of the whole API from the schemas that parse its requests. */
export function buildDocument(): OpenApiDocument {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', 'key', {
    type: 'http',
    scheme: 'bearer',
    description:
      'An API key with the scope named (rerank, outcomes, admin); `X-API-Key` works too. Needed only where keys are configured.',
  });
  registerHeaders(registry);
  for (const [key, operation] of Object.entries(OPERATIONS)) registry.registerPath(routeConfig(key, operation));
  return new OpenApiGeneratorV31(registry.definitions, { unionPreferredType: 'anyOf' }).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'Winnow',
      version: '1.0.0',
      description: describeApi(),
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
  });
}

/** Returns the text of openapi.yaml. */
export function documentText(document: OpenApiDocument): string {
  return stringify(document, { lineWidth: 140, aliasDuplicateObjects: false });
}
