import { refusal } from './refusal.ts';
import { tokenId } from './tokenizer-definition.ts';
import { readTokenizerFolder } from './tokenizer-folder.ts';

/** Token ids of the answers between which a language model decides. */
export interface AnswerIds {
  readonly yes: number;
  readonly no: number;
}

/**
 * Returns the tokens whose logits' difference is the score of a folder's language model: those that model.json names, else those that its
 * family is known for; undefined for a model without such a head, and one whose modules state them.
 * @param names Names that the model is known by beside its folder's.
 * @throws WinnowError `invalid_manifest` where the tokenizer does not have them.
 */
export async function answerIds(folder: string, names: readonly string[] = []): Promise<AnswerIds | undefined> {
  const { definition, found } = await readTokenizerFolder(folder, names);
  const idOf = (field: string, token: string): number => {
    const id = tokenId(definition, token);
    if (id !== undefined) return id;
    throw refusal(
      definition.file,
      'model.vocab',
      `a token ${JSON.stringify(token)} (or another \`${field}\` in model.json)`,
      'none',
    );
  };
  if (!found?.namesTokens) return undefined;
  return { yes: idOf('trueToken', found.trueToken), no: idOf('falseToken', found.falseToken) };
}
