/** Saves a ModernBERT-base with random weights, some 150 million: only the time and the memory of a step matter. */
export const SAVE_LARGE = `
import sys, torch
from transformers import ModernBertConfig, ModernBertForSequenceClassification
torch.manual_seed(0)
ModernBertForSequenceClassification(ModernBertConfig(num_labels=1)).save_pretrained(sys.argv[1])`;

/** A step of that model in PyTorch with low-rank layers beside every linear layer of the encoder, one per input line. */
export const LORA_STEP = `
import resource, sys, time, torch
from transformers import AutoModelForSequenceClassification
model, shape, rank, threads, steps = sys.argv[1:]
torch.manual_seed(0)
torch.set_num_threads(int(threads))
rows, length = map(int, shape.split("x"))
net = AutoModelForSequenceClassification.from_pretrained(model)
net.train()
class Low(torch.nn.Module):
    def __init__(self, base, r):
        super().__init__()
        self.base = base
        self.down = torch.nn.Parameter(torch.empty(r, base.in_features))
        torch.nn.init.kaiming_uniform_(self.down, a=5 ** 0.5)
        self.up = torch.nn.Parameter(torch.zeros(base.out_features, r))
    def forward(self, x):
        return self.base(x) + 2 * torch.nn.functional.linear(torch.nn.functional.linear(x, self.down), self.up)
for p in net.model.parameters():
    p.requires_grad_(False)
for module in list(net.model.modules()):
    for name, child in list(module.named_children()):
        if isinstance(child, torch.nn.Linear):
            setattr(module, name, Low(child, int(rank)))
trained = [p for p in net.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=2e-5, weight_decay=0.01)
ids = torch.randint(1000, 30000, (rows, length))
mask = torch.ones_like(ids)
labels = torch.randint(0, 2, (rows,)).float()
def step():
    start = time.perf_counter()
    optimizer.zero_grad()
    logits = net(input_ids=ids, attention_mask=mask).logits[:, 0]
    torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
    optimizer.step()
    return 1000 * (time.perf_counter() - start)
for _ in range(3):
    step()
print("ready", flush=True)
for _ in range(int(steps)):
    sys.stdin.readline()
    print(step(), flush=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)`;
