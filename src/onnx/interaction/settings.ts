import type { Settings } from '../architectures/settings.ts';

/*
 * What config.json says of an interaction model, in its field `interaction`: a query's tokens look at the finished states of a passage, in a few
 * upper layers (MICE, arXiv 2602.16299).
 */

/**
 * `cosine`: the query's last layers also look at the passage's states, and the score begins with the cosine of both vectors. `first`: the
 * published form, in which a linear layer reads the first token of the query.
 */
const FORMS = ['cosine', 'first'] as const;
type InteractionForm = (typeof FORMS)[number];

/** How token states become the vector of a text. */
const POOLINGS = ['mean', 'cls'] as const;

export interface InteractionSettings {
  readonly form: InteractionForm;
  /** Layers in which the query looks at the passage. */
  readonly top: number;
  /** Layers that the query's tokens pass alone. */
  readonly bottom: number;
  /** Layers that the passage passes before its states are kept. */
  readonly states: number;
  readonly pooling: (typeof POOLINGS)[number];
  /** Texts before every query and every passage. */
  readonly queryPrefix: string;
  readonly passagePrefix: string;
}

export const INTERACTION = 'interaction';

function prefixIn(settings: Settings, field: string): string {
  const value = settings.get(field) ?? '';
  if (typeof value === 'string') return value;
  throw settings.fault(field, 'a text', JSON.stringify(value).slice(0, 80));
}

/**
 * Reads the field `interaction` of a config.json.
 * @param layers of the encoder.
 * @throws WinnowError `invalid_input` with the field that does not fit.
 */
export function readInteraction(config: Settings, layers: number): InteractionSettings {
  const settings = config.inside(INTERACTION);
  if (!settings) throw config.fault(INTERACTION, 'the settings of an interaction model', 'nothing');
  const form = settings.choice('form', FORMS, 'cosine');
  const top = settings.bounded('top', layers);
  const isFirst = form === 'first';
  const most = isFirst ? layers - top : layers;
  const bottom = settings.stated('bottom') ?? layers - top;
  if (isFirst ? bottom > most : bottom !== layers - top)
    throw settings.fault(
      'bottom',
      isFirst ? `at most ${most}` : `${layers - top}, the layers below the top`,
      String(bottom),
    );
  const states = settings.stated('states') ?? (isFirst ? bottom : layers);
  if (states > layers || (isFirst && states !== bottom))
    throw settings.fault('states', isFirst ? `${bottom}, as bottom` : `at most ${layers}`, String(states));
  return {
    form,
    top,
    bottom,
    states,
    pooling: isFirst ? settings.choice('pooling', ['cls'], 'cls') : settings.choice('pooling', POOLINGS, 'mean'),
    queryPrefix: prefixIn(settings, 'queryPrefix'),
    passagePrefix: prefixIn(settings, 'passagePrefix'),
  };
}
