"""Time to the first token of an 8,192-token prompt of which the server has 7,900 cached, one request at a time: ttft.py URL"""

import json
import random
import statistics
import sys
import time
import urllib.request

PROMPT, CACHED, RUNS = 8192, 7900, 9


def ask(url, ids):
    body = {"input_ids": ids, "stream": True, "sampling_params": {"max_new_tokens": 4, "ignore_eos": True, "temperature": 0}}
    request = urllib.request.Request(url + "/generate", json.dumps(body).encode(), {"Content-Type": "application/json"})
    began = time.perf_counter()
    first, last = None, None
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - began
                last = json.loads(line[6:])
    return first, last["meta_info"]["cached_tokens"]


def main():
    url, rng = sys.argv[1], random.Random(1)
    shared = [rng.randrange(10, 128000) for _ in range(CACHED)]
    cold, _ = ask(url, shared + [rng.randrange(10, 128000) for _ in range(PROMPT - CACHED)])
    times = []
    for _ in range(RUNS):
        t, cached = ask(url, shared + [rng.randrange(10, 128000) for _ in range(PROMPT - CACHED)])
        if cached < CACHED - 16:
            sys.exit(f"only {cached} tokens were cached")
        times.append(t)
    print(f"ttft: {PROMPT} tokens, {CACHED} cached: {statistics.median(times) * 1e3:.1f} ms (min {min(times) * 1e3:.1f}, max {max(times) * 1e3:.1f}); nothing cached: {cold * 1e3:.0f} ms")


main()
