"""Time to the first token of prompts of 8,000 and 8,192 tokens of which the server has 7,900 cached, one at a time: ttft.py URL"""

import json
import random
import statistics
import sys
import time
import urllib.request

CACHED, RUNS = 7900, 15


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
    url, rng = sys.argv[1], random.Random(time.time_ns())
    shared = [rng.randrange(10, 128000) for _ in range(CACHED)]
    for prompt in (8000, 8192):
        fresh = lambda: [rng.randrange(10, 128000) for _ in range(prompt - CACHED)]
        cold, _ = ask(url, [rng.randrange(10, 128000) for _ in range(prompt)])
        ask(url, shared + fresh())  # cached from here on, and products of this shape are tuned
        times = []
        for _ in range(RUNS):
            t, cached = ask(url, shared + fresh())
            if cached < CACHED - 16:
                sys.exit(f"only {cached} tokens were cached")
            times.append(t)
        print(f"ttft: {prompt} tokens, {CACHED} cached: {statistics.median(times) * 1e3:.1f} ms (min {min(times) * 1e3:.1f}, max {max(times) * 1e3:.1f}); nothing cached: {cold * 1e3:.0f} ms")


main()
