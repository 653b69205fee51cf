/** Probability of dropping a value, by kind of site. */
export interface DropoutRates {
  /** After the embeddings' normalization. */
  readonly embeddings: number;
  /** Attention probabilities. */
  readonly attention: number;
  /** After the attention's output projection, before the residual sum. */
  readonly attentionOutput: number;
  /** After the feed-forward part's last projection (post-norm encoders) or before it (pre-norm encoders). */
  readonly mlp: number;
  /** DeBERTa's relative embeddings, once a layer. */
  readonly position: number;
  /** The pooled state, before the head's dense layer. */
  readonly dense: number;
  /** Before the last linear layer. */
  readonly classifier: number;
}

export const NO_DROPOUT: DropoutRates = {
  embeddings: 0,
  attention: 0,
  attentionOutput: 0,
  mlp: 0,
  position: 0,
  dense: 0,
  classifier: 0,
};

/** Contents of a config.json. */
type EncoderConfig = Readonly<Record<string, unknown>>;

type Read = (...keys: string[]) => number;

/** Hidden, attention and classifier rates of the BERT line. */
const bertRates = (read: Read): DropoutRates => {
  const hidden = read('hidden_dropout_prob');
  const classifier = read('classifier_dropout', 'hidden_dropout_prob');
  const attention = read('attention_probs_dropout_prob');
  return { ...NO_DROPOUT, embeddings: hidden, attention, attentionOutput: hidden, mlp: hidden, classifier };
};

/** Families whose classification head also drops the CLS state before its dense layer. */
const withDense = (read: Read): DropoutRates => ({ ...bertRates(read), dense: bertRates(read).classifier });

const FAMILIES: Readonly<Record<string, (read: Read) => DropoutRates>> = {
  bert: bertRates,
  roberta: withDense,
  'xlm-roberta': withDense,
  camembert: withDense,
  electra: withDense,
  mpnet: withDense,
  // Nothing is dropped after the feed-forward part.
  albert: (read) => ({ ...bertRates(read), mlp: 0, classifier: read('classifier_dropout_prob') }),
  'deberta-v2': (read) => {
    const hidden = read('hidden_dropout_prob');
    return {
      ...bertRates(read),
      position: hidden,
      dense: read('pooler_dropout'),
      classifier: read('cls_dropout', 'hidden_dropout_prob'),
    };
  },
  distilbert: (read) => ({
    ...NO_DROPOUT,
    embeddings: read('dropout'),
    attention: read('attention_dropout'),
    mlp: read('dropout'),
    classifier: read('seq_classif_dropout'),
  }),
  modernbert: (read) => ({
    ...NO_DROPOUT,
    embeddings: read('embedding_dropout'),
    attention: read('attention_dropout'),
    attentionOutput: read('attention_dropout'),
    mlp: read('mlp_dropout'),
    classifier: read('classifier_dropout'),
  }),
};

/**
 * Returns the rates of a model's config.json as its family reads them; unknown families are read like BERT. A key that is absent or null
 * falls back to the next one, and finally to 0.
 */
export function ratesOf(config: EncoderConfig): DropoutRates {
  const read: Read = (...keys) => {
    for (const key of keys) if (typeof config[key] === 'number') return config[key];
    return 0;
  };
  return (FAMILIES[String(config.model_type)] ?? bertRates)(read);
}

/** Replaces the rates that a recipe gives: hidden, attention, classifier. */
export function overrideRates(
  rates: DropoutRates,
  given: {
    readonly hidden?: number | undefined;
    readonly attention?: number | undefined;
    readonly classifier?: number | undefined;
  },
): DropoutRates {
  const { hidden, attention, classifier } = given;
  return {
    embeddings: hidden ?? rates.embeddings,
    attention: attention ?? rates.attention,
    attentionOutput: hidden ?? rates.attentionOutput,
    mlp: hidden ?? rates.mlp,
    position: hidden ?? rates.position,
    dense: classifier ?? rates.dense,
    classifier: classifier ?? rates.classifier,
  };
}
