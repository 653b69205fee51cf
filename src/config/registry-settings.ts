import { z } from 'zod';
import { POOLING_MODES } from '../util/pooling-modes.ts';
import { cascades } from './cascade-settings.ts';
import {
  bytes,
  choice,
  integer,
  list,
  optionalChoice,
  optionalText,
  references,
  text,
  toggle,
} from './setting-fields.ts';

const names = () => z.string('expected a name').min(1, 'expected a name');

/** Which models there are, and how they come into the registry. */
export const registrySettings = z.strictObject({
  folder: text('models', 'Names the registry folder: <name>/<version>/ in Hugging Face layout.', 'folder'),
  sources: list(
    names(),
    'hub ids and folders, separated by commas',
    'Lists models to serve from where they are: `organization/model`, `organization/model@revision` or a folder in Hugging Face layout. Each is imported when its content is new, keeps its name as an alias, and is loaded at start; the first is the default model. Without a registry folder of your own they are imported into `~/.cache/winnow/models`. The flag may be repeated.',
  ),
  biEncoder: toggle(
    false,
    'Imports the models of `sources` as bi-encoders, where their folders have no `modules.json` that says so.',
  ),
  pooling: optionalChoice(
    POOLING_MODES,
    'Sets how states of tokens become the vector of a text, for bi-encoders of `sources` without `modules.json`. Implies `biEncoder`.',
  ),
  queryPrefix: optionalText(
    'Sets the text before each query, for bi-encoders of `sources`. Unset: what the model states.',
  ),
  passagePrefix: optionalText(
    'Sets the text before each passage, for bi-encoders of `sources`. Unset: what the model states.',
  ),
  defaultModel: optionalText(
    'Names the model of requests that name none. Unset: the one in default.json of the registry folder, else the first by name.',
  ),
  aliases: references(
    'Gives models further names, as clients write them: the name a client sends, and the `model`, `model@version` or `model:label` it means. `*` stands for all other names. A model of the registry keeps its own name.',
  ),
  cascades: cascades(
    'Gives cascades names, which requests send as their model: the name, and its stages as in the field `cascade`. In the file they are YAML; a flag or variable takes JSON. A model of the registry keeps its own name. Added to those in cascades.json of the registry folder.',
  ),
  preload: list(
    names(),
    'names, separated by commas',
    'Lists models to load at start in addition to the default one. Each takes memory and delays readiness.',
  ),
  watch: toggle(
    true,
    'Follows completed renames in the registry folder, so that new versions are served without a restart.',
  ),
  pollMs: integer(
    1000,
    3_600_000,
    30_000,
    'Sets the milliseconds between readings of the registry folder that need no event, for network file systems that send none. Only with `watch`. Lowering it finds changes sooner there.',
  ),
  memoryBytes: bytes(
    0,
    2 ** 42,
    0,
    'Limits the memory of loaded models; beyond it the least recently used ones are unloaded. 0 takes what the cgroup leaves beside the processes.',
  ),
  pinned: list(names(), 'names, separated by commas', 'Lists models that are never unloaded for memory.'),
  variant: choice(
    ['auto', 'fp32', 'fp16', 'int8'],
    'auto',
    'Chooses the ONNX file of a version. `auto` takes int8 on a CPU and fp16 on a GPU where the version has them.',
  ),
  maxModelBytes: bytes(1024, 2 ** 42, 8_589_934_592, 'Limits the size of a model folder that is admitted.'),
});
