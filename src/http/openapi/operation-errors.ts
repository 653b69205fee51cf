import type { ErrorCode } from '../../errors.ts';

/* Which errors the operations answer. */

export const KEY_ERRORS = [
  'unauthorized',
  'forbidden',
  'not_local',
  'cross_site',
  'unknown_host',
  'rate_limited',
  'internal',
] as const satisfies readonly ErrorCode[];

export const BODY_ERRORS = [
  'malformed_json',
  'unsupported_media_type',
  'body_too_large',
  'body_too_complex',
  'too_many_bytes',
  'request_timeout',
  'invalid_field',
] as const satisfies readonly ErrorCode[];

export const MODEL_ERRORS = ['unknown_model', 'unknown_version', 'model_refused', 'model_not_ready'] as const;

const ENGINE_ERRORS = [
  'inference_failed',
  'host_lost',
  'no_host',
  'not_started',
  'tokenization_failed',
  'not_a_number',
] as const;

export const SCORING_ERRORS: readonly ErrorCode[] = [
  ...KEY_ERRORS,
  ...BODY_ERRORS,
  'unknown_dialect',
  'empty_passages',
  'too_many_passages',
  'passage_too_long',
  ...MODEL_ERRORS,
  'overloaded',
  'deadline_exceeded',
  'shutting_down',
  ...ENGINE_ERRORS,
];

export const REGISTRY_ERRORS: readonly ErrorCode[] = [
  ...KEY_ERRORS,
  ...BODY_ERRORS,
  ...MODEL_ERRORS,
  'invalid_manifest',
  'unsafe_path',
  'hash_mismatch',
  'provider_unavailable',
  ...ENGINE_ERRORS,
  'shutting_down',
];

export const READ_ERRORS: readonly ErrorCode[] = [...KEY_ERRORS, 'unknown_model', 'unknown_version'];
