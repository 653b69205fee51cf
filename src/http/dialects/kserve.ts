import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import { formatScore } from '../scores.ts';
import { defineDialect, type Limits, type QueryRequest } from './dialect.ts';
import { stringErrors } from './errors.ts';
import { commonFields, commonOptions, overruledFields, textAt, textsOf, withoutEmpty } from './fields.ts';
import { byIndex } from './ranking.ts';
import { count } from './scalars.ts';
import { listNames } from './sent-names.ts';

const { cascade: _cascade, model: _model, ...fields } = commonFields;

const tensor = z.object({
  name: z.string(),
  shape: z.array(count(0)),
  datatype: z.literal('BYTES'),
  data: z.array(z.unknown()).meta({ items: { type: 'string' } }),
});

const schema = z
  .object({
    id: z.string().max(128).nullish().meta({ description: 'Given back in the answer.' }),
    inputs: z.array(tensor).meta({ description: '`query` with one string, `passages` with the passages.' }),
    parameters: z.object(fields).nullish().meta({ description: 'Fields that other dialects have next to the query.' }),
  })
  .meta({ id: 'KserveRequest' });

type Body = z.infer<typeof schema>;

const answerSchema = z
  .object({
    id: z.string(),
    model_name: z.string(),
    model_version: z.string(),
    parameters: z
      .object({ warnings: z.string().optional(), below_min_score: z.number().int().min(0).optional() })
      .optional()
      .meta({ description: 'Winnow: what was left out or had no effect; absent if there is nothing to say.' }),
    outputs: z.array(
      z.object({
        name: z.enum(['scores', 'indices']),
        shape: z.array(z.number().int()),
        datatype: z.enum(['FP32', 'INT64']),
        data: z.array(z.number()).meta({ description: 'In the order sent.' }),
      }),
    ),
  })
  .meta({ id: 'KserveAnswer' });

function input(body: Body, name: 'query' | 'passages') {
  const at = body.inputs.findIndex((tensor) => tensor.name === name);
  const found = body.inputs[at];
  if (!found)
    throw new WinnowError('invalid_field', { expected: `an input named \`${name}\``, got: 'none', field: 'inputs' });
  const size = found.shape.reduce((product, n) => product * n, 1);
  if (size !== found.data.length)
    throw new WinnowError('invalid_field', {
      expected: `${size} strings, as the shape says`,
      got: found.data.length,
      field: `inputs[${at}].data`,
    });
  return { data: found.data, field: `inputs[${at}].data` };
}

function toRequests(body: Body, limits: Limits): readonly QueryRequest[] {
  const query = input(body, 'query');
  const passages = input(body, 'passages');
  if (query.data.length !== 1)
    throw new WinnowError('invalid_field', {
      expected: 'one query',
      got: describe(query.data),
      field: query.field,
    });
  return [
    {
      ...commonOptions(body.parameters ?? {}, 'parameters.'),
      query: textAt(query.data[0], `${query.field}[0]`),
      passages: textsOf(passages.data, passages.field, limits),
      names: { ...listNames(passages.field, `${query.field}[0]`), options: 'parameters.' },
    },
  ];
}

/** KServe's Open Inference Protocol (version 2) over text: the path names the model, scores stand in the order sent. */
export const kserve = defineDialect({
  name: 'kserve',
  docs: {
    title: 'KServe (Open Inference Protocol)',
    summary: 'Score tensors of text',
    answer: '`{id, model_name, model_version, outputs: [{name, datatype, shape, data}]}`, in the order sent',
  },
  paths: [
    { path: '/v2/models/:model/infer' },
    { path: '/v2/models/:model/versions/:version/infer', note: 'one version' },
  ],
  errors: stringErrors,
  schema,
  answer: answerSchema,
  toRequests,
  idleFields: ({ parameters }) => overruledFields(parameters ?? {}).map((name) => `parameters.${name}`),
  toAnswer(body, answers, context) {
    const answer = answers[0]!;
    const ranked = byIndex(answer, input(body, 'passages').data.length);
    const { belowMinScore: below } = answer;
    // The protocol's parameters are strings, numbers and booleans.
    const parameters = withoutEmpty({ warnings: context.warnings.join('; ') || undefined, below_min_score: below });
    const head = {
      id: body.id ?? context.requestId,
      model_name: answer.model,
      model_version: answer.version,
      ...(Object.keys(parameters).length > 0 && { parameters }),
    };
    const [count, places] = [ranked.length, ranked.map(({ index }) => index)];
    // A list with gaps needs the places of its scores.
    const indices = `,{"name":"indices","datatype":"INT64","shape":[${count}],"data":[${places.join(',')}]}`;
    const raw = body.parameters?.raw_scores ?? false;
    return {
      head: `${JSON.stringify(head).slice(0, -1)},"outputs":[{"name":"scores","datatype":"FP32","shape":[${count}],"data":[`,
      count,
      item: (i) => formatScore(raw ? ranked[i]!.score : ranked[i]!.relevanceScore, places[i]),
      tail: `]}${below === undefined ? '' : indices}]}`,
    };
  },
});
