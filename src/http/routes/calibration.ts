import { z } from 'zod';
import type { CalibrationFacts } from '../../registry/calibration.ts';

/** What is shown of a version's calibration. */
export const modelCalibration = z
  .object({
    method: z.enum(['platt', 'isotonic']),
    data: z
      .array(z.string())
      .meta({ description: 'Files with the judged lists or labeled pairs that it was fitted on.' }),
    lists: z.number().int().min(0),
    pairs: z.number().int().min(0),
    relevant: z.number().int().min(0).meta({ description: 'Pairs that are relevant.' }),
    log_loss: z.number().meta({ description: 'Mean log loss of pairs of held-out lists.' }),
    expected_calibration_error: z
      .number()
      .meta({ description: 'Mean distance between probability and relevant part over ten bins, on held-out lists.' }),
  })
  .meta({ id: 'ModelCalibration' });
type ModelCalibration = z.infer<typeof modelCalibration>;

/** Returns what is shown of a calibration. */
export const calibrationOf = (facts: CalibrationFacts): ModelCalibration => ({
  method: facts.map.method,
  data: facts.data.map(({ file }) => file),
  lists: facts.lists,
  pairs: facts.pairs,
  relevant: facts.relevant,
  log_loss: facts.logLoss.after,
  expected_calibration_error: facts.calibrationError.after,
});
