import { z } from 'zod';
import { modelCalibration } from './calibration.ts';

/*
 * Schemas of bodies and answers of the routes that do not score. They parse requests, type the handlers, and openapi.yaml is generated from
 * them.
 */

const count = z.number().int().min(0);

const MODEL_KINDS = ['cross-encoder', 'bi-encoder', 'interaction'] as const;

/** One version of a model in the registry. */
const modelEntry = z
  .object({
    id: z.string().meta({ description: 'A name for requests: `model`, `model:label`, `model@version` or an alias.' }),
    kind: z.enum(['model', 'label', 'alias', 'version']).meta({ description: 'What kind of name `id` is.' }),
    object: z.literal('model'),
    created: count.meta({ description: 'Start of the service, in seconds since the epoch.' }),
    owned_by: z.literal('winnow'),
    name: z.string(),
    version: z.string(),
    state: z.enum(['available', 'loading', 'ready', 'draining', 'refused', 'unloaded']),
    reason: z.string().optional().meta({ description: 'Why it was refused, or why it is not ready.' }),
    labels: z.array(z.string()).meta({ description: 'Labels that point to it, such as `stable`.' }),
    default: z.boolean().meta({ description: 'Whether requests without `model` are answered by this model.' }),
    variant: z.string().optional().meta({ description: '`fp32`, `fp16` or `int8`.' }),
    provider: z.string().optional(),
    max_length: count.optional().meta({ description: 'Tokens of a pair.' }),
    max_query_tokens: count
      .optional()
      .meta({ description: 'Tokens of a query; absent: as many as the pair has room for.' }),
    activation: z
      .enum(['sigmoid', 'none'])
      .optional()
      .meta({ description: 'How a logit becomes a relevance score; `none` returns the logit.' }),
    calibration: modelCalibration
      .optional()
      .meta({ description: 'How logits become probabilities in place of the activation (`winnow calibrate`).' }),
    model_kind: z.enum(MODEL_KINDS).optional().meta({
      description:
        'Whether it reads query and passage together, apart as two vectors, or apart in its lower layers (`interaction`).',
    }),
    objective: z.string().optional().meta({ description: 'Training objective.' }),
    cascade: z
      .array(z.object({ model: z.string(), keep: count.optional(), blend: z.number().optional() }))
      .optional()
      .meta({ description: 'Stages, where `id` is the name of a cascade; the other fields are of the last one.' }),
    warnings: z
      .array(z.string())
      .optional()
      .meta({ description: 'What admission found: files that are not applied, scores that depend on the batch.' }),
    rewrite: z
      .string()
      .optional()
      .meta({ description: 'How the graph of another tool was rewritten for this machine, or why not.' }),
    bytes: count.optional().meta({ description: 'Memory it takes.' }),
    last_used: count.optional().meta({ description: 'Milliseconds since the epoch.' }),
  })
  .meta({ id: 'ModelEntry' });
export type ModelEntry = z.infer<typeof modelEntry>;

const cohereModel = z.object({
  name: z.string(),
  endpoints: z.array(z.literal('rerank')),
  finetuned: z.literal(false),
  context_length: count.optional().meta({ description: 'Tokens of a pair.' }),
});

export const modelList = z
  .object({
    object: z.literal('list'),
    data: z.array(modelEntry).meta({
      description: 'The default model first, then plain names, aliases, labels, exact versions; what is refused last.',
    }),
    models: z.array(cohereModel).meta({ description: 'The same names as Cohere lists them, without what is refused.' }),
  })
  .meta({ id: 'ModelList' });
export type ModelList = z.infer<typeof modelList>;

export const modelVersions = z
  .object({
    id: z.string(),
    object: z.literal('model'),
    created: count,
    owned_by: z.literal('winnow'),
    versions: z.array(modelEntry),
  })
  .meta({ id: 'ModelVersions' });
export type ModelVersions = z.infer<typeof modelVersions>;

const replicaWarnings = {
  warnings: z
    .array(z.string())
    .optional()
    .meta({ description: 'Several replicas: which of them followed. Absent where the service is one process.' }),
};

export const labelRequest = z
  .object({
    version: z
      .union([z.string().min(1).max(128), z.number().int().min(0)], { error: 'a version' })
      .meta({ description: 'Version the label points to from now on.' }),
  })
  .meta({ id: 'LabelRequest' });

export const labelAnswer = z
  .object({ name: z.string(), label: z.string(), version: z.string(), ...replicaWarnings })
  .meta({ id: 'LabelAnswer' });
export type LabelAnswer = z.infer<typeof labelAnswer>;

export const indexRequest = z
  .object({ ready: z.boolean().nullish().meta({ description: 'true: only versions that are ready.' }) })
  .meta({ id: 'RepositoryIndexRequest' });

export const indexAnswer = z
  .array(
    z.object({
      name: z.string(),
      version: z.string(),
      state: z.enum(['READY', 'LOADING', 'UNLOADING', 'UNAVAILABLE']),
      reason: z.string(),
    }),
  )
  .meta({ id: 'RepositoryIndex' });
export type IndexAnswer = z.infer<typeof indexAnswer>;

export const loadRequest = z
  .object({
    parameters: z
      .strictObject({
        version: z
          .string()
          .min(1)
          .max(128)
          .nullish()
          .meta({ description: "The version meant; the model's current one (load) or all (unload) if absent." }),
        unload_dependents: z
          .boolean()
          .nullish()
          .meta({ description: 'Triton: no model here depends on another, so there is nothing more to unload.' }),
      })
      .nullish(),
  })
  .meta({ id: 'RepositoryModelRequest' });

export const loadAnswer = z
  .object({ name: z.string(), versions: z.array(modelEntry), ...replicaWarnings })
  .meta({ id: 'RepositoryModelAnswer' });
export type LoadAnswer = z.infer<typeof loadAnswer>;

export const info = z
  .object({
    model_id: z.string().nullable().meta({ description: 'The default model.' }),
    model_sha: z.string().nullable().meta({ description: 'sha256 of the ONNX file that is served.' }),
    model_version: z.string().nullable(),
    model_dtype: z.string().nullable().meta({ description: '`float32`, `float16` or `int8`.' }),
    served_model_name: z.string().nullable(),
    model_type: z.object({
      reranker: z.object({ id2label: z.record(z.string(), z.string()), label2id: z.record(z.string(), count) }),
    }),
    max_concurrent_requests: count.nullable().meta({ description: 'null: bounded by queued tokens instead.' }),
    max_input_length: count.nullable().meta({ description: 'Tokens of a pair.' }),
    max_query_tokens: count
      .nullable()
      .meta({ description: 'Tokens of a query; null: as many as the pair has room for.' }),
    max_batch_tokens: count,
    max_batch_requests: count.meta({ description: 'Rows of a batch.' }),
    max_client_batch_size: count.meta({ description: 'Passages of a request.' }),
    auto_truncate: z.boolean(),
    tokenization_workers: count,
    version: z.string(),
    sha: z.string().nullable(),
    docker_label: z.string().nullable(),
    provider: z.string(),
    hosts: count.meta({ description: 'Inference processes.' }),
    devices: z
      .array(count)
      .optional()
      .meta({ description: 'Indexes of the GPUs; absent where the provider cannot choose between devices.' }),
    body_limit_bytes: count,
    rewrite: z.string().nullable().meta({
      description:
        'How the graph of another tool was rewritten for this machine, or why not; null for a file of Winnow’s own.',
    }),
    score: z
      .enum(['sigmoid(logit) unless raw_scores', 'logit', 'calibrated probability unless raw_scores'])
      .nullable()
      .meta({
        description:
          'How the default model computes relevance scores: never relative to the other passages. null: it is not in memory.',
      }),
    calibration: modelCalibration.nullable().meta({
      description:
        'What the probabilities of the default model were calibrated on. null: it is not calibrated, or not in memory.',
    }),
    model_kind: z.enum(MODEL_KINDS).nullable().meta({
      description:
        'Whether the default model reads query and passage together, apart as two vectors, or apart in its lower layers (`interaction`). null: it is not in memory.',
    }),
  })
  .meta({ id: 'Info' });
export type Info = z.infer<typeof info>;

export const meta = z
  .object({
    model: z.string().nullable(),
    model_version: z.string().nullable(),
    max_length: count.nullable(),
    version: z.string(),
  })
  .meta({ id: 'Meta' });
export type Meta = z.infer<typeof meta>;

const tensorMeta = z.object({ name: z.string(), datatype: z.string(), shape: z.array(z.number().int()) });

export const kserveServer = z
  .object({ name: z.literal('winnow'), version: z.string(), extensions: z.array(z.string()) })
  .meta({ id: 'KserveServer' });
export type KserveServer = z.infer<typeof kserveServer>;

export const kserveModel = z
  .object({
    name: z.string(),
    versions: z.array(z.string()),
    platform: z.literal('onnxruntime_onnx'),
    inputs: z.array(tensorMeta),
    outputs: z.array(tensorMeta),
  })
  .meta({ id: 'KserveModel' });
export type KserveModel = z.infer<typeof kserveModel>;

const tritonTensor = z.object({
  name: z.string(),
  data_type: z.enum(['TYPE_STRING', 'TYPE_FP32']),
  dims: z.array(z.number().int()),
});

export const tritonConfig = z
  .object({
    name: z.string(),
    platform: z.literal('onnxruntime_onnx'),
    backend: z.literal('onnxruntime'),
    version_policy: z
      .object({ all: z.object({}) })
      .meta({ description: 'Every version that is not refused may be asked for.' }),
    max_batch_size: z
      .literal(0)
      .meta({ description: 'Tensors have no batch dimension; batches are formed of rows of all requests.' }),
    input: z.array(tritonTensor),
    output: z.array(tritonTensor),
    instance_group: z
      .array(z.object({ kind: z.enum(['KIND_CPU', 'KIND_GPU']), count, gpus: z.array(count).optional() }))
      .meta({ description: 'Inference processes, which all models share; with `gpus`, as many on each of them.' }),
    parameters: z.record(z.string(), z.object({ string_value: z.string() })).meta({
      description:
        'Facts of the version: `version`, `state`, and once it was loaded `variant`, `provider`, `max_length`, `activation`.',
    }),
  })
  .meta({ id: 'TritonConfig' });
export type TritonConfig = z.infer<typeof tritonConfig>;

const times = z.object({ count, ns: count.meta({ description: 'Nanoseconds together.' }) });

export const tritonStatistics = z
  .object({
    model_stats: z.array(
      z.object({
        name: z.string(),
        version: z.string(),
        last_inference: count.meta({ description: 'Last answer, in milliseconds since the epoch; 0: none.' }),
        inference_count: count.meta({ description: 'Rows (pairs, windows of long ones) that the engine has scored.' }),
        execution_count: count.meta({ description: 'Batches that the engine has run.' }),
        inference_stats: z.object({
          success: times.meta({ description: 'Requests answered, from arrival to answer.' }),
          fail: times.meta({ description: 'Requests whose scoring failed.' }),
          queue: times.meta({ description: 'Waiting for a batch.' }),
          compute_input: times.meta({ description: 'Tokenization.' }),
          compute_infer: times.meta({ description: "The requests' shares of the engine's time." }),
          compute_output: times.meta({ description: 'Writing the answer.' }),
        }),
      }),
    ),
  })
  .meta({ id: 'TritonStatistics' });
export type TritonStatistics = z.infer<typeof tritonStatistics>;

export const kserveReady = z.object({ name: z.string(), ready: z.boolean() }).meta({ id: 'KserveReady' });
export type KserveReady = z.infer<typeof kserveReady>;

export const health = z
  .object({ status: z.enum(['ready', 'not ready']), reason: z.string().optional() })
  .meta({ id: 'Health' });

export const kserveLive = z.object({ live: z.boolean() }).meta({ id: 'KserveLive' });
export const kserveServerReady = z.object({ ready: z.boolean() }).meta({ id: 'KserveServerReady' });
export const live = z
  .object({ status: z.enum(['live', 'not live']), reason: z.string().optional() })
  .meta({ id: 'Live' });
