/** Every folder may import the floor: the error catalog and `util/`. */
export const FLOOR = ['errors', 'util'];

/**
 * What each folder of src/ may import, in addition to itself and the floor; `a/b` narrows to a sub-folder, a file or its start.
 * docs/architecture.md shows the same table.
 */
export const MAY_IMPORT: Readonly<Record<string, readonly string[] | 'all'>> = {
  main: 'all',
  cli: [
    'main',
    'config',
    'rerank',
    'experiments',
    'registry',
    'tokenization',
    'scheduling',
    'inference',
    'onnx',
    'autodiff',
    'training',
    'evaluation',
    'statistics',
    'reports',
    'telemetry',
  ],
  config: [],
  util: [],
  http: ['rerank', 'registry', 'experiments', 'telemetry'],
  rerank: ['tokenization', 'scheduling', 'registry', 'experiments', 'passages'],
  passages: [],
  experiments: ['statistics', 'reports'],
  registry: ['inference'],
  tokenization: [],
  scheduling: [],
  inference: ['onnx'],
  onnx: [],
  autodiff: ['onnx'],
  training: [
    'onnx',
    'autodiff',
    'tokenization',
    'registry',
    'evaluation',
    'statistics',
    'reports',
    'inference/providers',
  ],
  evaluation: ['statistics', 'reports'],
  statistics: [],
  reports: ['statistics'],
  telemetry: [],
  console: ['rerank/rerank-types'],
};

/** The rooms inside the two largest folders, lowest first: a room may import rooms that stand before it in the list, and no other. */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  training: [
    'objectives',
    'optimizers',
    'data',
    'recipe',
    'interaction',
    'step',
    'measure',
    'quantization',
    'pruning',
    'teachers',
    'run',
    'publish',
    'grid',
  ],
  experiments: ['records', 'ports', 'definitions', 'assignment', 'store', 'recording', 'analysis'],
};
