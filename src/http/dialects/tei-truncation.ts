import { z } from 'zod';
import { type Common, differ, overruledFields, withoutEmpty } from './fields.ts';
import { flag } from './scalars.ts';

/* How Text Embeddings Inference's bodies say what is cut. Its fields overrule `truncation` and `truncation_side`, which such a body may have too. */

export const truncationFields = {
  truncate: flag('false: a pair that does not fit is an error; cut if absent.'),
  truncation_direction: z
    .enum(['right', 'left', 'Right', 'Left'])
    .nullish()
    .meta({ description: 'Which end of a long passage is cut.' }),
};

type Truncation = Common & { readonly [K in keyof typeof truncationFields]?: z.infer<(typeof truncationFields)[K]> };

const sideOf = ({ truncation_direction: direction }: Truncation) =>
  direction?.toLowerCase() as 'left' | 'right' | undefined;

/** Returns the options that these fields set, to stand after those of `commonOptions`. */
export const truncationOptions = (body: Truncation) => withoutEmpty({ truncate: body.truncate, side: sideOf(body) });

/** Returns the names of fields that other fields of the body overrule, those of `overruledFields` included. */
export const overruledWithTruncation = (body: Truncation): readonly string[] => [
  ...overruledFields(body),
  ...(typeof body.truncation === 'boolean' && differ(body.truncate, body.truncation) ? ['truncation'] : []),
  ...(differ(sideOf(body), body.truncation_side) ? ['truncation_side'] : []),
];
