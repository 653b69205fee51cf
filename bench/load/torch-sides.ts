import { spawnSync } from 'node:child_process';
import { Side } from './side.ts';

/*
 * The other side of `bench:models`: PyTorch with transformers and sentence-transformers, used as their documentation shows.
 */

/** Writes a classifier with random weights. Arguments: its config.json as JSON, the folder. Prints its parameters. */
const SAVE = `
import json, sys
from transformers import AutoConfig, AutoModelForSequenceClassification
fields = json.loads(sys.argv[1])
config = AutoConfig.for_model(fields.pop("model_type"), **fields, num_labels=1, pad_token_id=0)
model = AutoModelForSequenceClassification.from_config(config)
model.save_pretrained(sys.argv[2])
print(sum(p.numel() for p in model.parameters()))`;

/** Scores all pairs of a JSON file by \`CrossEncoder.predict\` for every line. */
const PREDICT = `
import json, resource, sys, time
import torch
from sentence_transformers import CrossEncoder
torch.set_num_threads(int(sys.argv[3]))
model = CrossEncoder(sys.argv[1], device="cpu", max_length=512)
pairs = json.load(open(sys.argv[2]))
def work():
    begin = time.perf_counter()
    model.predict(pairs, batch_size=32, show_progress_bar=False)
    return 1000 * (time.perf_counter() - begin)
work()
print("ready", flush=True)
for line in sys.stdin:
    print(work(), flush=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)`;

/** One training step for every line: forward, BCE, backward, AdamW, as a trainer runs it. */
const TRAIN = `
import resource, sys, time
import torch
from transformers import AutoModelForSequenceClassification
rows, length = map(int, sys.argv[2].split("x"))
torch.set_num_threads(int(sys.argv[3]))
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
ids = torch.randint(1000, 30000, (rows, length))
mask = torch.ones_like(ids)
labels = torch.randint(0, 2, (rows,)).float()
def work():
    begin = time.perf_counter()
    optimizer.zero_grad()
    logits = model(input_ids=ids, attention_mask=mask).logits[:, 0]
    torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
    optimizer.step()
    return 1000 * (time.perf_counter() - begin)
work()
print("ready", flush=True)
for line in sys.stdin:
    print(work(), flush=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)`;

/** Writes a model folder with random weights, without a tokenizer. @returns its number of parameters. @throws Error with Python's message. */
export function saveRandom(python: string, config: Readonly<Record<string, unknown>>, folder: string): number {
  const done = spawnSync(python, ['-c', SAVE, JSON.stringify(config), folder], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (done.status !== 0) throw new Error(`${python}: ${done.error?.message ?? done.stderr.trim().split('\n').at(-1)}`);
  return Number(done.stdout.trim().split('\n').at(-1));
}

/** Starts sentence-transformers on the pairs of a JSON file. */
export const predictSide = (python: string, folder: string, pairs: string, threads: number): Side =>
  new Side(python, ['-c', PREDICT, folder, pairs, String(threads)]);

/** Starts PyTorch's training step. @param shape `rows x tokens`. */
export const trainSide = (python: string, folder: string, shape: string, threads: number): Side =>
  new Side(python, ['-c', TRAIN, folder, shape, String(threads)]);
