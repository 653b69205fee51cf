import { describe, type WinnowError } from '../../errors.ts';
import { isObject, type JsonObject } from '../../util/json-files.ts';
import { invalidField } from '../faults.ts';
import { textAt } from './fields.ts';

/*
 * Reads text out of the forms in which clients write a query or a document: a string, an object with `text`, or the content parts of
 * multimodal chats (`[{ "type": "text", "text": … }]`), alone or as `content` of an object.
 */

/** Fields of documents that are something else than text. */
const MEDIA = ['image', 'image_url', 'image_base64', 'video', 'video_url', 'audio', 'input_audio', 'file'];

/** Returns what an object without text is, for messages; undefined where it has no mark. */
function mediaOf(value: JsonObject): string | undefined {
  if (typeof value.type === 'string' && value.type !== 'text') return value.type.slice(0, 40);
  return MEDIA.find((name) => Object.hasOwn(value, name));
}

const noText = (media: string, field: string): WinnowError =>
  invalidField('text, because models here read text only', `\`${media}\``, field);

function partText(part: unknown, path: string): string {
  if (!isObject(part)) throw invalidField('an object with `type` and `text`', describe(part), path);
  const media = typeof part.text === 'string' ? undefined : mediaOf(part);
  if (media !== undefined) throw noText(media, path);
  return textAt(part.text, `${path}.text`);
}

/** Joins content parts by line ends. @throws WinnowError `invalid_field` for a part that is no text, and where there is none. */
function partsText(parts: readonly unknown[], path: string): string {
  if (parts.length === 0) throw invalidField('at least one part with `text`', 'none', path);
  return parts.map((part, i) => partText(part, `${path}[${i}]`)).join('\n');
}

/** Returns the text of an object; undefined where it has none. */
function objectText(value: JsonObject, path: string): string | undefined {
  if (value.text !== undefined && value.text !== null) return textAt(value.text, `${path}.text`);
  const { content } = value;
  if (Array.isArray(content)) return partsText(content, `${path}.content`);
  if (content !== undefined && content !== null) return textAt(content, `${path}.content`);
  const media = mediaOf(value);
  if (media !== undefined) throw noText(media, path);
  return undefined;
}

/** Joins fields of an object by line ends. */
function rankedFields(document: JsonObject, fields: readonly string[], path: string): string | undefined {
  const parts = fields
    .filter((field) => Object.hasOwn(document, field) && document[field] !== null)
    .map((field) => textAt(document[field], `${path}.${field}`));
  return parts.length > 0 ? parts.join('\n') : undefined;
}

/**
 * Returns the text of a document.
 * @param fields of objects that are ranked; undefined: their `text` or `content`.
 * @throws WinnowError `invalid_field` naming the document, for one without text.
 */
export function documentText(document: unknown, fields: readonly string[] | undefined, path: string): string {
  if (typeof document === 'string') return document;
  if (Array.isArray(document)) return partsText(document, path);
  if (!isObject(document)) throw invalidField('a string or an object with `text`', describe(document), path);
  const text = fields ? rankedFields(document, fields, path) : objectText(document, path);
  if (text !== undefined) return text;
  const names = (fields ?? ['text']).map((field) => `\`${field}\``).join(', ');
  throw invalidField(`an object with one of ${names}`, 'none of them', path);
}

/** Returns the text of a query. @throws WinnowError `invalid_field`. */
export function queryText(query: unknown): string {
  if (Array.isArray(query)) return partsText(query, 'query');
  const text = isObject(query) ? objectText(query, 'query') : undefined;
  return text ?? textAt(query, 'query');
}

/** Returns the documents of a list, or the parts of a single `content`, each of which is a document. */
export function documentsOf(documents: readonly unknown[] | { readonly content: readonly unknown[] }): {
  readonly list: readonly unknown[];
  /** Name of the list in messages. */
  readonly field: string;
} {
  return 'content' in documents
    ? { list: documents.content, field: 'documents.content' }
    : { list: documents, field: 'documents' };
}
