import {
  counter,
  gauge,
  histogram,
  LATENCY,
  PASSAGES,
  ROWS,
  type Shape,
  TOKENS,
  tracedCounter,
  tracedHistogram,
} from './metric-shapes.ts';

/*
 * The table of all metrics. Names follow Prometheus' rules: base units (seconds, bytes), `_total` on counters. docs/metrics.md is generated
 * from it.
 */

export const METRICS = {
  // Requests
  requests: counter('winnow_requests_total', 'Re-ranking requests answered, by HTTP status.', [
    'model',
    'version',
    'dialect',
    'lane',
    'status',
  ]),
  requestSeconds: tracedHistogram(
    'winnow_request_duration_seconds',
    'From the arrival of a request to the end of its answer.',
    ['model', 'version', 'dialect', 'lane'],
    LATENCY,
  ),
  requestPassages: histogram('winnow_request_passages', 'Passages in a request.', ['dialect'], PASSAGES),
  requestsInFlight: gauge('winnow_requests_in_flight', 'Re-ranking requests being answered now.', []),
  errors: tracedCounter('winnow_errors_total', 'Answers with an error, by code of the catalog (docs/errors.md).', [
    'code',
    'dialect',
  ]),
  pairs: counter('winnow_pairs_scored_total', 'Query-passage pairs in answers with scores.', ['model', 'version']),
  truncatedPassages: counter('winnow_truncated_passages_total', 'Passages that were truncated.', ['model', 'version']),
  truncatedQueries: counter('winnow_truncated_queries_total', 'Requests with a cut query.', ['model', 'version']),
  prunedPassages: counter('winnow_pruned_passages_total', 'Passages left out by pruning.', ['model', 'version']),
  prunedTokens: counter('winnow_pruned_tokens_total', 'Tokens of passages left out by pruning.', ['model', 'version']),
  httpRequests: counter('winnow_http_requests_total', 'Answers of every route, probes included.', [
    'method',
    'route',
    'status',
  ]),
  bytesInFlight: gauge('winnow_http_in_flight_bytes', 'Request bodies and answers held by requests now.', []),
  connectionsDropped: counter(
    'winnow_http_connections_dropped_total',
    'Connections closed at once because server.maxConnections were open.',
    [],
  ),
  armRequests: counter('winnow_arm_requests_total', 'Re-ranking requests inside an experiment, by arm.', [
    'experiment',
    'arm',
    'model',
    'version',
    'status',
  ]),
  armSeconds: tracedHistogram(
    'winnow_arm_duration_seconds',
    'From the arrival of a request to the end of its answer, inside an experiment.',
    ['experiment', 'arm'],
    LATENCY,
  ),
  // Experiments
  experimentsDefined: gauge(
    'winnow_experiments',
    'Experiments defined, by state: running, idle, off (they wait for a PostgreSQL database that has not been reached since the start).',
    ['state'],
  ),
  armFailures: counter(
    'winnow_arm_failures_total',
    'Requests whose arm could not answer, by code: control answered (fallback: missing, failed, guardrail) or the request failed (none).',
    ['experiment', 'arm', 'fallback', 'code'],
  ),
  placeholderIds: counter(
    'winnow_placeholder_ids_total',
    'Requests inside an experiment whose user, session or unit id counts as none (experiments.placeholderIds).',
    ['experiment'],
  ),
  exposuresStored: counter('winnow_exposures_stored_total', 'Exposures written to the experiment database.', []),
  exposuresLost: counter(
    'winnow_exposures_lost_total',
    'Exposures that were never written (buffer_full, closed) or were in a SQLite file that was deleted or replaced (file_lost).',
    ['reason'],
  ),
  exposuresWaiting: gauge(
    'winnow_exposures_waiting_rows',
    'Exposures waiting to be written to the experiment database.',
    [],
  ),
  outcomes: counter('winnow_outcomes_total', 'Outcomes received, by status: stored, duplicate, conflict, unknown.', [
    'status',
  ]),
  shadowFigures: histogram(
    'winnow_shadow_figure_ratio',
    'Difference of a shadow ranking from the answer: kendall_tau, rbo, overlap_at_10, top_1_flip, score_drift.',
    ['experiment', 'arm', 'figure'],
    [-1, -0.5, -0.25, -0.1, -0.05, 0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1],
  ),
  shadowFailures: counter('winnow_shadow_failures_total', 'Shadow arms that returned no ranking, by code.', [
    'experiment',
    'arm',
    'code',
  ]),
  guardrailTrips: counter('winnow_guardrail_trips_total', 'Arms that guardrails disabled.', ['experiment']),
  experimentProblems: counter(
    'winnow_experiment_problems_total',
    'Problems while requests were answered: file (invalid, last valid one kept), database, provider (flag system), clock (it jumped).',
    ['where'],
  ),
  // Stages of a request
  tokenizeSeconds: tracedHistogram(
    'winnow_tokenize_duration_seconds',
    'Tokenization of one request: query, passages and pairs.',
    ['model', 'version'],
    LATENCY,
  ),
  queueSeconds: tracedHistogram(
    'winnow_queue_wait_seconds',
    'From submission of a request to the start of its first batch.',
    ['model', 'version', 'lane'],
    LATENCY,
  ),
  inferSeconds: tracedHistogram(
    'winnow_infer_duration_seconds',
    "A request's share, by tokens, of the engine time of its batches.",
    ['model', 'version'],
    LATENCY,
  ),
  // Batches
  batchSeconds: histogram(
    'winnow_batch_duration_seconds',
    'Engine time of one batch.',
    ['model', 'version', 'lane', 'provider'],
    LATENCY,
  ),
  batchRows: histogram('winnow_batch_rows', 'Rows in a batch.', ['model', 'version', 'provider'], ROWS),
  batchTokens: histogram(
    'winnow_batch_tokens',
    'Tokens in a batch, padding included.',
    ['model', 'version', 'provider'],
    TOKENS,
  ),
  tokens: counter('winnow_tokens_total', 'Tokens scored, without padding.', ['model', 'version']),
  paddingTokens: counter('winnow_padding_tokens_total', 'Padding tokens in scored batches.', ['model', 'version']),
  paddingRatio: gauge('winnow_padding_ratio', 'Padding tokens ÷ all tokens in scored batches since start.', []),
  // Queue
  queueTokens: gauge('winnow_queue_tokens', 'Tokens waiting for a batch.', []),
  queueRows: gauge('winnow_queue_rows', 'Rows waiting for a batch.', []),
  predictedWait: gauge(
    'winnow_predicted_wait_seconds',
    'Predicted wait of a request that arrives now, by lane; above scheduling.maxWaitMs requests are refused.',
    ['lane'],
  ),
  queueJobs: gauge('winnow_queue_jobs', 'Requests with rows waiting for a batch.', []),
  demand: gauge(
    'winnow_demand_ratio',
    'Work offered ÷ capacity of the hosts over the last minute; refused work counts. Above 1: more arrives than can be done. The autoscaler follows it.',
    [],
  ),
  shedRows: counter('winnow_shed_rows_total', 'Rows removed from the queue without a score, by reason.', [
    'reason',
    'lane',
  ]),
  // Inference hosts
  hosts: gauge('winnow_hosts', 'Inference hosts that can run batches.', ['provider']),
  deviceHosts: gauge('winnow_device_hosts', 'Inference hosts that can run batches, by the index of their GPU (cuda).', [
    'device',
  ]),
  hostBatches: counter(
    'winnow_host_batches_total',
    'Batches that an inference host has scored; device is the index of its GPU, or empty.',
    ['host', 'device'],
  ),
  hostBusySeconds: counter(
    'winnow_host_busy_seconds_total',
    'Seconds an inference host spent in the engine; its rate is the share of time that the host or its GPU was busy.',
    ['host', 'device'],
  ),
  hostBusy: gauge('winnow_host_busy_ratio', 'Share of the last minute that an inference host spent in the engine.', [
    'host',
    'device',
  ]),
  hostCpuSeconds: counter(
    'winnow_host_cpu_seconds_total',
    'Processor time of an inference host; the processes that succeed each other in its place are added up.',
    ['host', 'device'],
  ),
  hostEvents: counter(
    'winnow_host_events_total',
    'Events of inference hosts: ready, lost (cause: crashed, killed, faulty), restart, recycle, model_missing, outage (none for longer than its grace).',
    ['event', 'cause'],
  ),
  batchRepeats: counter(
    'winnow_batch_repeats_total',
    'Batches run again: retry (their host was lost), split (they failed as a whole).',
    ['reason'],
  ),
  hostMemoryLimit: gauge(
    'winnow_host_memory_limit_bytes',
    'Resident memory above which an inference host is replaced; 0: no limit.',
    [],
  ),
  hostRss: gauge('winnow_host_resident_memory_bytes', 'Resident memory of an inference host.', ['host']),
  // Caches
  cacheHits: counter('winnow_cache_hits_total', 'Lookups answered by a cache (tokens, scores, passages).', ['cache']),
  cacheMisses: counter('winnow_cache_misses_total', 'Lookups a cache could not answer.', ['cache']),
  cacheBytes: gauge('winnow_cache_bytes', 'Memory of the entries in a cache.', ['cache']),
  passageEntries: gauge('winnow_passage_entries', 'Rows of passages in the passage cache.', ['model', 'version']),
  passageBytes: gauge('winnow_passage_bytes', 'Memory of the passage cache that a version uses.', ['model', 'version']),
  passageFileEntries: gauge('winnow_passage_file_entries', 'Rows of passages in the passage file.', []),
  passageFileBytes: gauge('winnow_passage_file_bytes', 'Bytes of vectors and states in the passage file.', []),
  passageFileLost: counter(
    'winnow_passage_file_lost_total',
    'Rows that are not in the passage file: unwritten (the file or the disk failed), damaged (not what was written).',
    ['reason'],
  ),
  passageEvictions: counter(
    'winnow_passage_evictions_total',
    'Rows that left the passage cache because others needed their memory.',
    ['model', 'version'],
  ),
  passageHits: counter(
    'winnow_passage_hits_total',
    'Rows of passages that a version did not read, because what it makes of them was kept or being computed.',
    ['model', 'version'],
  ),
  passageMisses: counter(
    'winnow_passage_misses_total',
    'Rows of passages that a version read and put into the passage cache.',
    ['model', 'version'],
  ),
  passageEncodeSeconds: counter(
    'winnow_passage_encode_seconds_total',
    'Seconds in the engine for rows of passages that were not kept.',
    ['model', 'version'],
  ),
  // Registry
  modelInfo: gauge('winnow_model_info', '1 for each version in memory.', ['model', 'version', 'variant', 'provider']),
  modelBytes: gauge('winnow_model_bytes', 'Memory of a loaded version, summed over all hosts.', ['model', 'version']),
  admissionsRefused: counter('winnow_admissions_refused_total', 'Versions refused before they could serve.', [
    'model',
    'version',
  ]),
  refusedVersions: gauge('winnow_refused_versions', 'Versions in the registry folder that are refused now.', []),
  modelLoads: counter('winnow_model_loads_total', 'Versions loaded.', ['model', 'version']),
  modelLoadSeconds: histogram(
    'winnow_model_load_duration_seconds',
    'From reading the files of a version to the end of its load on the first inference host.',
    [],
    LATENCY,
  ),
  modelUnloads: counter(
    'winnow_model_unloads_total',
    'Versions unloaded, by cause: replaced, request, memory, removed.',
    ['model', 'version', 'cause'],
  ),
  modelRoutes: counter(
    'winnow_model_routes_total',
    'Times that requests for a model, or for one of its labels, were routed to another version.',
    ['model', 'version', 'label'],
  ),
  // Process
  info: gauge('winnow_info', '1; the labels name the build and its execution provider.', [
    'version',
    'node',
    'provider',
  ]),
  reloads: counter(
    'winnow_reloads_total',
    'Changes of the file of keys and of settings while the server ran, by what (keys, settings) and result (applied, failed: what was in effect stays).',
    ['what', 'result'],
  ),
  ready: gauge('winnow_ready', '1 while /health/ready answers 200.', []),
  eventLoopDelay: gauge(
    'winnow_event_loop_delay_seconds',
    'Delay of the event loop of the HTTP process since the last scrape; percentile: 50, 90, 99, 100.',
    ['percentile'],
  ),
} as const satisfies Record<string, Shape>;
