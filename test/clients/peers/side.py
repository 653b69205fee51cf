"""The loop of a side of `npm run bench:peers`: a JSON line in, a JSON line out (bench/peers/protocol.ts)."""
import json
import sys
import time


def serve(version, score, job) -> None:
    """Runs `score(batch)` (list of row numbers -> their scores) over the batches that each line names, until the input ends."""
    for batch in job["speed"][:3]:
        score(batch)
    print(json.dumps({"ready": version}), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        name = json.loads(line)["run"]
        scores = [float(x) for batch in job[name] for x in score(batch)]
        answer = {"seconds": time.perf_counter() - begin}
        if name != "speed":
            answer["scores"] = scores
        print(json.dumps(answer), flush=True)
