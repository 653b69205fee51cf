/** The largest tokenizer or vocabulary file of a model folder, in bytes. No served family comes near it (XLM-R's is 17 MB). */
export const MAX_TOKENIZER_BYTES = 32 * 1024 * 1024;
