import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import { asFloat32, formatScore } from '../scores.ts';
import { defineDialect, type Limits, type QueryRequest } from './dialect.ts';
import { stringErrors } from './errors.ts';
import { commonFields, commonOptions, overruledFields, textAt, textsOf, withoutEmpty } from './fields.ts';
import { chooseOutputs, inputTensors, outputText, textsAt, unpackInputs, wantedOutputs } from './kserve-tensors.ts';
import { byIndex } from './ranking.ts';
import { flag, integer } from './scalars.ts';
import { listNames } from './sent-names.ts';

const { cascade: _cascade, model: _model, ...fields } = commonFields;

const parameters = z.object({
  ...fields,
  binary_data_output: flag('Triton: all outputs as bytes behind the JSON, unless an output says otherwise.'),
  timeout: integer(
    0,
    3_600_000_000,
    'Triton: deadline of the answer in microseconds; 0: none. `timeout_ms` overrules it.',
  ),
});

const schema = z
  .object({
    id: z.string().max(128).nullish().meta({ description: 'Given back in the answer.' }),
    inputs: inputTensors.meta({ description: '`query` with one string, `passages` with the passages.' }),
    outputs: wantedOutputs
      .nullish()
      .meta({ description: 'The outputs wanted; `scores`, with `indices` if some are left out, if absent.' }),
    parameters: parameters.nullish().meta({ description: 'Fields that other dialects have next to the query.' }),
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
        data: z.array(z.number()).optional().meta({ description: 'In the order sent.' }),
        parameters: z
          .object({ binary_data_size: z.number().int().min(0) })
          .optional()
          .meta({ description: 'Bytes of this output behind the JSON, in place of `data`.' }),
      }),
    ),
  })
  .meta({ id: 'KserveAnswer' });

function timeoutOf(sent: Body['parameters']): { readonly timeoutMs?: number } {
  const { timeout, timeout_ms: milliseconds } = sent ?? {};
  return timeout && !milliseconds ? { timeoutMs: Math.ceil(timeout / 1000) } : {};
}

/** The outputs a request wants. Those that are unknown are refused before anything is scored. */
const outputsOf = ({ outputs, parameters: sent }: Body, hasGaps: boolean) =>
  chooseOutputs(outputs, sent?.binary_data_output ?? false, hasGaps);

function toRequests(body: Body, limits: Limits): readonly QueryRequest[] {
  const query = textsAt(body.inputs, 'query');
  const passages = textsAt(body.inputs, 'passages');
  outputsOf(body, false);
  if (query.data.length !== 1)
    throw new WinnowError('invalid_field', {
      expected: 'one query',
      got: describe(query.data),
      field: query.field,
    });
  return [
    {
      ...commonOptions(body.parameters ?? {}, 'parameters.'),
      ...timeoutOf(body.parameters),
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
  async unpack(body, bytes, limits) {
    const { inputs, repaired } = await unpackInputs(body.inputs, bytes, limits);
    return { body: { ...body, inputs }, repaired };
  },
  idleFields: ({ parameters: sent }) => {
    const overruled = overruledFields(sent ?? {});
    const idle = sent?.timeout && sent.timeout_ms ? [...overruled, 'timeout'] : overruled;
    return idle.map((name) => `parameters.${name}`);
  },
  toAnswer(body, answers, context) {
    const answer = answers[0]!;
    const ranked = byIndex(answer, context.requests[0]!.passages.length);
    const { belowMinScore: below } = answer;
    // The protocol's parameters are strings, numbers and booleans.
    const notes = withoutEmpty({ warnings: context.warnings.join('; ') || undefined, below_min_score: below });
    const head = {
      id: body.id ?? context.requestId,
      model_name: answer.model,
      model_version: answer.version,
      ...(Object.keys(notes).length > 0 && { parameters: notes }),
    };
    const raw = body.parameters?.raw_scores ?? false;
    const scoreOf = (i: number) => (raw ? ranked[i]!.score : ranked[i]!.relevanceScore);
    const placeOf = (i: number) => ranked[i]!.index;
    const count = ranked.length;
    // A list with gaps needs the places of its scores.
    const outputs = outputText(outputsOf(body, below !== undefined), {
      scores: {
        datatype: 'FP32',
        count,
        bytesPerValue: 4,
        text: (i) => formatScore(scoreOf(i), placeOf(i)),
        write: (i, into) => into.writeFloatLE(asFloat32(scoreOf(i), placeOf(i)), 4 * i),
      },
      indices: {
        datatype: 'INT64',
        count,
        bytesPerValue: 8,
        text: (i) => String(placeOf(i)),
        write: (i, into) => into.writeBigInt64LE(BigInt(placeOf(i)), 8 * i),
      },
    });
    return { ...outputs, head: `${JSON.stringify(head).slice(0, -1)},${outputs.head}` };
  },
});
