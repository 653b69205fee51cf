export const TOPIC_FIELDS = ['title', 'description', 'narrative', 'title+description'] as const;

/** The part of a topic that is the query. */
export type TopicField = (typeof TOPIC_FIELDS)[number];

/** Names of the parts that each field takes: tags in XML and SGML, keys in JSON. The first that a topic has is taken. */
export const FIELD_NAMES = {
  title: ['title', 'query', 'text', 'summary'],
  description: ['desc', 'description', 'question'],
  narrative: ['narr', 'narrative'],
} as const;

/** Parts of a Precision Medicine topic, which together are its query. */
const PATIENT = ['disease', 'gene', 'variant', 'demographic', 'treatment', 'other'];

/** Every name of a part. */
export const TOPIC_PARTS: readonly string[] = [...Object.values(FIELD_NAMES).flat(), ...PATIENT];

/** A topic: its parts by name, with single spaces. */
interface Topic {
  readonly part: (name: string) => string;
  /** Text that is the title of a topic without a title and without parts of a patient. */
  readonly whole: string;
}

const first = (topic: Topic, names: readonly string[]): string =>
  names.map(topic.part).find((text) => text !== '') ?? '';

const titleOf = (topic: Topic): string =>
  first(topic, FIELD_NAMES.title) ||
  PATIENT.map(topic.part)
    .filter((text) => text !== '')
    .join(' ') ||
  topic.whole;

const FIELDS: Readonly<Record<TopicField, (topic: Topic) => string>> = {
  title: titleOf,
  description: (topic) => first(topic, FIELD_NAMES.description),
  narrative: (topic) => first(topic, FIELD_NAMES.narrative),
  'title+description': (topic) => {
    const [title, description] = [titleOf(topic), first(topic, FIELD_NAMES.description)];
    return title === '' || description === '' ? '' : `${title} ${description}`;
  },
};

/** Returns the query of a topic; empty if the topic does not have the field. */
export const queryOf = (topic: Topic, field: TopicField): string => FIELDS[field](topic);
