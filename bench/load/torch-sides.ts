import { spawnSync } from 'node:child_process';
import { Side } from './side.ts';

/*
 * The other side of `bench:models` and `bench:train`: PyTorch with transformers and sentence-transformers, used as their documentation shows.
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

/** Calls `work` some times to warm up, then for every line; prints its milliseconds and at the end the peak memory in MB. */
const onEveryLine = (warmUp: number): string => `
for _ in range(${warmUp}):
    work()
print("ready", flush=True)
for line in sys.stdin:
    print(work(), flush=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)`;

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
${onEveryLine(1)}`;

/** Loads the model of a training step. Arguments: folder, `rows x tokens`, threads. */
const LOAD = `
import resource, sys, time
import torch
from transformers import AutoModelForSequenceClassification
torch.manual_seed(0)
rows, length = map(int, sys.argv[2].split("x"))
torch.set_num_threads(int(sys.argv[3]))
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).train()`;

/** Puts low-rank layers beside every linear layer of the encoder, which is frozen. Argument: their rank. */
const LORA = `
class Low(torch.nn.Module):
    def __init__(self, base, r):
        super().__init__()
        self.base = base
        self.down = torch.nn.Parameter(torch.empty(r, base.in_features))
        torch.nn.init.kaiming_uniform_(self.down, a=5 ** 0.5)
        self.up = torch.nn.Parameter(torch.zeros(base.out_features, r))
    def forward(self, x):
        return self.base(x) + 2 * torch.nn.functional.linear(torch.nn.functional.linear(x, self.down), self.up)
for p in model.base_model.parameters():
    p.requires_grad_(False)
for module in list(model.base_model.modules()):
    for name, child in list(module.named_children()):
        if isinstance(child, torch.nn.Linear):
            setattr(module, name, Low(child, int(sys.argv[4])))`;

/** One training step for every line: forward, BCE, backward, for all rows or part by part, then AdamW, as a trainer runs it. */
const stepOf = (warmUp: number, parts = 1): string => `
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-5, weight_decay=0.01)
ids = torch.randint(1000, 30000, (rows, length))
mask = torch.ones_like(ids)
labels = torch.randint(0, 2, (rows,)).float()
def work():
    begin = time.perf_counter()
    optimizer.zero_grad()
    for i, m, l in zip(ids.chunk(${parts}), mask.chunk(${parts}), labels.chunk(${parts})):
        logits = model(input_ids=i, attention_mask=m).logits[:, 0]
        (torch.nn.functional.binary_cross_entropy_with_logits(logits, l) / ${parts}).backward()
    optimizer.step()
    return 1000 * (time.perf_counter() - begin)
${onEveryLine(warmUp)}`;

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
  new Side(python, ['-c', `${LOAD}${stepOf(1)}`, folder, shape, String(threads)]);

interface Adapters {
  readonly threads: string;
  readonly rank: string;
  /** Steps before the first timed one. */
  readonly warmUp: number;
  /** Parts of a step whose gradients are added. */
  readonly parts: number;
}

/** Starts PyTorch's training step with low-rank layers. @param shape `rows x tokens`. */
export const loraSide = (python: string, folder: string, shape: string, of: Adapters): Side =>
  new Side(python, ['-c', `${LOAD}${LORA}${stepOf(of.warmUp, of.parts)}`, folder, shape, of.threads, of.rank]);
