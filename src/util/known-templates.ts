import { z } from 'zod';
import { readChatTemplate } from './chat-template.ts';
import { isObject, type JsonObject } from './json-files.ts';
import { type TextTemplate, templateSchema } from './text-template.ts';

/*
 * Which template a model folder means: that of model.json, else that of its chat template, else the one that its family is known for. Sources:
 * the model cards of Qwen/Qwen3-Reranker-0.6B and mixedbread-ai/mxbai-rerank-base-v2.
 */

/** A template, and the tokens between which a language model decides. */
export interface ModelTemplate {
  readonly template: TextTemplate;
  readonly trueToken: string;
  readonly falseToken: string;
}

/** A template that was found, and where; `assumed` where nothing in the folder speaks for it but that the model is a decoder. */
export interface FoundTemplate extends ModelTemplate {
  /** Whether the model has the head of a language model, of which two tokens decide. */
  readonly isLanguageModel: boolean;
  /** Whether they are named here, and not by a module of sentence-transformers. */
  readonly namesTokens: boolean;
  readonly origin: 'model.json' | 'chat template' | 'name' | 'family' | 'assumed';
}

export const QWEN3_RERANKER: ModelTemplate = {
  template: {
    prefix:
      '<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. ' +
      'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
    body: '<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}',
    suffix: '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n',
    instruction: 'Given a web search query, retrieve relevant passages that answer the query',
  },
  trueToken: 'yes',
  falseToken: 'no',
};

export const MXBAI_RERANK_V2: ModelTemplate = {
  template: {
    prefix:
      '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n<|im_start|>user\n',
    body: 'instruction: {instruction}\nquery: {query}\ndocument: {document}',
    suffix:
      '\nYou are a search relevance expert who evaluates how well documents match search queries. For each query-document pair, ' +
      'carefully analyze the semantic relationship between them, then provide your binary relevance judgment ' +
      '(0 for not relevant, 1 for relevant).\nRelevance:<|im_end|>\n<|im_start|>assistant\n',
  },
  trueToken: '1',
  falseToken: '0',
};

/** Returns the parts of a path that may name a model: in the hub's cache it is two folders above the files. */
export const namesIn = (folder: string): readonly string[] => folder.split(/[\\/]/).slice(-3);

/** What a folder's files say. */
export interface TemplateFiles {
  /** Fields of `model.json`. */
  readonly stated: z.infer<z.ZodObject<typeof templateFields>>;
  readonly config: JsonObject;
  readonly tokenizerConfig: JsonObject;
  /** `config_sentence_transformers.json`. */
  readonly settings: JsonObject;
  /** `sentence_bert_config.json`. */
  readonly moduleSettings: JsonObject;
  /** `modules.json`. */
  readonly modules: unknown;
  /** `chat_template.jinja`. */
  readonly chatTemplate: string | undefined;
  /** Names that the model may be known by: its folder, its repository. */
  readonly names: readonly string[];
}

/** The fields of model.json about templates. */
export const templateFields = {
  /** `pair`: as the tokenizer joins two texts. */
  template: z.union([z.literal('pair'), templateSchema]).optional(),
  /** In place of the template's own instruction. */
  instruction: z.string().min(1).max(10_000).optional(),
  /** Tokens of a language model's answers; the score is the difference of their logits. */
  trueToken: z.string().min(1).max(100).optional(),
  falseToken: z.string().min(1).max(100).optional(),
};

type Known = Omit<FoundTemplate, 'isLanguageModel' | 'namesTokens'>;

const FAMILIES: Readonly<Record<string, Known>> = {
  qwen2: { ...QWEN3_RERANKER, origin: 'assumed' },
  qwen3: { ...QWEN3_RERANKER, origin: 'family' },
};

/** Whether config.json is that of a decoder, which has no pairs. */
export const isDecoder = (config: JsonObject): boolean => Object.hasOwn(FAMILIES, String(config.model_type));

function known({ config, names }: TemplateFiles): Known | undefined {
  const family = isDecoder(config) ? FAMILIES[String(config.model_type)] : undefined;
  if (family && [...names, String(config._name_or_path ?? '')].some((name) => /mxbai-?rerank/i.test(name)))
    return { ...MXBAI_RERANK_V2, origin: 'name' };
  return family;
}

/** The prompt that sentence-transformers puts before every query, which a chat template takes as the system message. */
function promptOf({ settings }: TemplateFiles): string | undefined {
  const name = settings.default_prompt_name;
  const prompt = isObject(settings.prompts) && typeof name === 'string' ? settings.prompts[name] : undefined;
  return typeof prompt === 'string' && prompt !== '' ? prompt : undefined;
}

/** Returns the texts of the special tokens in tokenizer_config.json, by name; each is a text or an object with one. */
function specialTokens(tokenizerConfig: JsonObject): Readonly<Record<string, string>> {
  const named = ['bos_token', 'eos_token', 'pad_token', 'unk_token', 'sep_token', 'cls_token', 'mask_token'];
  return Object.fromEntries(
    named.flatMap((name) => {
      const value = tokenizerConfig[name];
      const text = isObject(value) ? value.content : value;
      return typeof text === 'string' ? [[name, text]] : [];
    }),
  );
}

function inChat(files: TemplateFiles): TextTemplate | undefined {
  const { chatTemplate, tokenizerConfig } = files;
  const use = { prompt: promptOf(files), tokens: specialTokens(tokenizerConfig) };
  const own = chatTemplate === undefined ? undefined : readChatTemplate(chatTemplate, 'chat_template.jinja', use);
  const inside = tokenizerConfig.chat_template;
  const found =
    own ?? (typeof inside === 'string' ? readChatTemplate(inside, 'tokenizer_config.json', use) : undefined);
  const instruction = use.prompt ?? found?.instruction;
  return found && { ...found, ...(instruction === undefined ? {} : { instruction }) };
}

/** Returns the template of a model; undefined where query and passage are a pair of texts, as in encoders. */
export function templateOf(files: TemplateFiles): FoundTemplate | undefined {
  const found = find(files);
  const { architectures } = files.config;
  const isLanguageModel =
    Array.isArray(architectures) && architectures.some((name) => /ForCausalLM$/.test(String(name)));
  if (!found) return undefined;
  const { instruction } = files.stated;
  const template = instruction === undefined ? found.template : { ...found.template, instruction };
  return { ...found, template, isLanguageModel, namesTokens: isLanguageModel && !hasLogitScore(files) };
}

/**
 * Whether sentence-transformers gives a model pairs of texts, and no messages, which alone have a template.
 * @param moduleSettings `sentence_bert_config.json`.
 */
export function readsTextsOnly({ modality_config: modalities }: JsonObject): boolean {
  return isObject(modalities) && isObject(modalities.text) && !Object.hasOwn(modalities, 'message');
}

const hasLogitScore = ({ modules }: TemplateFiles): boolean =>
  Array.isArray(modules) &&
  modules.some((module: unknown) => isObject(module) && /\bLogitScore$/.test(String(module.type)));

function find(files: TemplateFiles): Known | undefined {
  const { stated } = files;
  const isPair = stated.template === undefined && readsTextsOnly(files.moduleSettings);
  if (stated.template === 'pair' || isPair) return undefined;
  const family = known(files);
  const chat = isDecoder(files.config) ? inChat(files) : undefined;
  const { trueToken, falseToken } = family ?? QWEN3_RERANKER;
  const tokens = { trueToken: stated.trueToken ?? trueToken, falseToken: stated.falseToken ?? falseToken };
  if (stated.template) return { ...tokens, template: stated.template, origin: 'model.json' };
  if (chat) return { ...tokens, template: chat, origin: 'chat template' };
  return family && { ...family, ...tokens };
}
