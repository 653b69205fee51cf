import type { Settings } from './settings-schema.ts';

/** Settings that exclude each other. */
interface Conflict {
  readonly field: readonly string[];
  readonly applies: (recipe: Settings) => boolean;
  readonly message: string;
}

/** Returns the steps of warm-up. */
export const warmupSteps = ({ schedule, steps }: Pick<Settings, 'schedule' | 'steps'>): number =>
  schedule.warmup < 1 ? Math.round(schedule.warmup * steps) : Math.round(schedule.warmup);

export const WARMUP_RULE = 'fewer steps than `steps`, or a share of them below 1';

/** Settings that exclude each other, each with what to change. */
const CONFLICTS: readonly Conflict[] = [
  {
    field: ['schedule', 'warmup'],
    applies: (recipe) => recipe.epochs === undefined && warmupSteps(recipe) >= recipe.steps,
    message: WARMUP_RULE,
  },
  {
    field: ['precision'],
    applies: ({ precision, provider }) => precision === 'fp16' && provider === 'cpu',
    message: 'fp16 on a CPU is slower than fp32: set provider to cuda or webgpu, or precision to fp32',
  },
  {
    field: ['precision'],
    applies: ({ precision, provider }) => precision === 'bf16' && provider !== 'cuda',
    message: 'only provider cuda has bf16: set provider to cuda, or precision to fp32 (on webgpu also fp16)',
  },
  {
    field: ['stepsPerRun'],
    applies: ({ stepsPerRun, batch }) => stepsPerRun > 1 && batch.accumulate > 1,
    message: 'several steps a run take one batch each: set batch.accumulate or stepsPerRun to 1',
  },
  {
    field: ['stepsPerRun'],
    applies: ({ stepsPerRun, ema }) => stepsPerRun > 1 && ema > 0,
    message: 'the moving average needs the weights of every step: set ema to 0 or stepsPerRun to 1',
  },
  {
    field: ['average'],
    applies: ({ average, ema, lora }) => average > 0 && (ema > 0 || lora !== undefined),
    message: 'one of average, ema and lora: the mean with the start is that of whole weights',
  },
  {
    field: ['validation', 'patience'],
    applies: ({ validation }) => validation?.weights === 'last' && validation.patience > 0,
    message: 'with weights last all steps are taken: set patience to 0, or weights to best',
  },
  {
    field: ['schedule', 'floor'],
    applies: ({ schedule }) => schedule.name === 'constant' && schedule.floor > 0,
    message: 'schedule constant never falls: set floor to 0 or name to linear or cosine',
  },
  {
    field: ['optimizer', 'place'],
    applies: ({ stepsPerRun, optimizer }) => stepsPerRun > 1 && optimizer.place === 'host',
    message: 'several steps a run need the optimizer in the graph: set optimizer.place to graph or stepsPerRun to 1',
  },
];

/** What does not go together with `interaction`, each with what to change. */
const WITH_INTERACTION: readonly Conflict[] = [
  {
    field: ['head'],
    applies: ({ head }) => head !== 'auto',
    message: 'an interaction model has a head of its own (interaction.form): leave head out',
  },
  {
    field: ['centered'],
    applies: ({ centered }) => centered === true,
    message: 'an interaction model starts at a cosine times interaction.scale: leave centered out',
  },
  {
    field: ['lora'],
    applies: ({ lora }) => lora !== undefined,
    message: 'interaction.train says what is trained: leave lora out',
  },
  {
    field: ['dropout'],
    applies: ({ dropout }) => dropout !== 'off',
    message: 'the kept states of passages have none: set dropout to off',
  },
  {
    field: ['precision'],
    applies: ({ precision }) => precision !== 'fp32',
    message: 'interaction models are trained in fp32: set precision to fp32',
  },
  {
    field: ['stepsPerRun'],
    applies: ({ stepsPerRun }) => stepsPerRun > 1,
    message: 'states of passages are read for every step: set stepsPerRun to 1',
  },
  {
    field: ['publish'],
    applies: ({ publish }) =>
      publish !== undefined &&
      (publish.int8 || publish.fp16 || publish.tables !== 'inside' || publish.formats.includes('safetensors')),
    message:
      'an interaction model is published as weights and two float32 graphs, and interaction.kept is the format of states: leave int8, fp16, tables and formats out',
  },
];

/** Returns the settings of a recipe that exclude each other. */
export const conflictsIn = (recipe: Settings): readonly Conflict[] =>
  [...CONFLICTS, ...(recipe.interaction ? WITH_INTERACTION : [])].filter(({ applies }) => applies(recipe));
