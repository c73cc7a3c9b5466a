"""Mixed load with cancels against a running server: python3 scripts/soak.py URL SECONDS [CLIENTS]

Clients send prompts of 1 to 3,000 tokens (token ids; half of them behind one of eight shared prefixes), greedy or sampled,
with penalties, logprobs, several choices and seeds, streamed or not; a third of them leave in the middle. Give the server
a small --max-total-tokens so that it evicts and retracts. Afterwards the script waits until nothing runs and requires: every
answer that was read to its end is whole, refusals are 429s, no request is left, every token of the KV pool is free or cached,
the same greedy prompt gives the same answer as before the load, and /flush_cache leaves the pool empty. It prints the
counts, and the process's and (with nvidia-smi) the card's memory before and after.
"""

import collections
import http.client
import json
import random
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

URL, SECONDS, CLIENTS = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 150
HOST = urllib.parse.urlparse(URL)
LONGEST = 3000
counts, lock = collections.Counter(), threading.Lock()


def note(what, n=1):
    with lock:
        counts[what] += n


def get(path):
    with urllib.request.urlopen(URL + path, timeout=60) as r:
        return r.read().decode()


def metric(text, name):
    for line in text.splitlines():
        if line.startswith(name) and (line[len(name)] in "{ "):
            return float(line.rsplit(" ", 1)[1])
    sys.exit(f"soak: no metric {name}")


def send(body):
    c = http.client.HTTPConnection(HOST.hostname, HOST.port, timeout=300)
    c.request("POST", "/generate", json.dumps(body), {"Content-Type": "application/json"})
    return c, c.getresponse()


def prompt(rng, vocab, shared):
    ids = list(rng.choice(shared)) if rng.random() < 0.5 else []
    return ids + [rng.randrange(10, vocab) for _ in range(rng.choice([1, 5, 40, 300, LONGEST // 2]))]


def body(rng, vocab, shared):
    p = {"max_new_tokens": rng.choice([1, 8, 64, 300]), "temperature": rng.choice([0, 0.7, 1.2]), "ignore_eos": True}
    if rng.random() < 0.3:
        p |= {"top_p": 0.9, "top_k": rng.choice([5, 50])}
    if rng.random() < 0.2:
        p |= {"frequency_penalty": 0.5, "presence_penalty": 0.3, "repetition_penalty": 1.1}
    if rng.random() < 0.1:
        p["n"] = 2
    b = {"input_ids": prompt(rng, vocab, shared), "sampling_params": p, "stream": rng.random() < 0.7}
    if rng.random() < 0.1:
        b |= {"return_logprob": True, "top_logprobs_num": 3}
    return b


def once(rng, vocab, shared):
    b = body(rng, vocab, shared)
    c, r = send(b)
    try:
        if r.status == 429:
            note("refused with 429")
            r.read()
            time.sleep(0.05 + rng.random() * 0.3)
            return
        if r.status != 200:
            note(f"status {r.status}: {r.read()[:200]!r}")
            return
        leave = rng.random() < 0.33
        if not b["stream"]:
            if leave:
                note("left before the answer")
                return
            a = json.loads(r.read())
            for one in a if isinstance(a, list) else [a]:
                check(b, one)
            note("answers")
            return
        last, stop = {}, rng.randrange(1, 30)
        for i, line in enumerate(x for x in r if x.startswith(b"data: {")):
            one = json.loads(line[6:])
            if "error" in one:
                note(f"error in a stream: {json.dumps(one)[:200]}")
                return
            last[one.get("index", 0)] = one
            if leave and i >= stop:
                note("left in the middle")
                return
        for one in last.values():
            check(b, one)
        note("answers")
    finally:
        c.close()


def check(b, one):
    m = one["meta_info"]
    want = b["sampling_params"]["max_new_tokens"]
    if m["completion_tokens"] != want or not m["finish_reason"] or m["finish_reason"]["type"] != "length":
        note(f"an answer is not whole: {m['completion_tokens']} of {want}, {m['finish_reason']}")
    note("tokens", m["completion_tokens"])


def client(seed, until, vocab, shared):
    rng = random.Random(seed)
    while time.time() < until:
        try:
            once(rng, vocab, shared)
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as e:
            note(f"broken: {type(e).__name__}: {e}")


def greedy(vocab):
    rng = random.Random(7)
    c, r = send({"input_ids": [rng.randrange(10, vocab) for _ in range(200)], "sampling_params": {"max_new_tokens": 32, "temperature": 0, "ignore_eos": True}})
    a = json.loads(r.read())
    c.close()
    return a["output_ids"]


def memory():
    out = []
    try:
        pid = subprocess.run(["fuser", f"{HOST.port}/tcp"], capture_output=True, text=True).stdout.split()
        if pid:
            out.append(next(l for l in open(f"/proc/{pid[0]}/status") if l.startswith("VmRSS")).split(":")[1].strip())
    except OSError:
        pass
    try:
        out.append(subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip())
    except OSError:
        pass
    return ", ".join(out)


def main():
    global LONGEST
    info = json.loads(get("/get_model_info"))
    vocab, LONGEST = info["vocab_size"], min(LONGEST, info["max_model_len"] - 400)
    rng = random.Random(1)
    shared = [[rng.randrange(10, vocab) for _ in range(LONGEST // 2)] for _ in range(8)]
    before = greedy(vocab)
    print("memory before:", memory())
    until = time.time() + SECONDS
    threads = [threading.Thread(target=client, args=(i, until, vocab, shared)) for i in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for _ in range(600):
        text = get("/metrics")
        if metric(text, "radish_running_requests") == 0 and metric(text, "radish_queued_requests") == 0:
            break
        time.sleep(0.1)
    else:
        sys.exit("soak: requests are left after a minute")
    for k, v in sorted(counts.items()):
        print(f"  {v:9d} {k}")
    whole, free, cached = (metric(text, n) for n in ("radish_kv_tokens", "radish_kv_free_tokens", "radish_kv_cached_tokens"))
    print(f"pool of {whole:.0f}: {free:.0f} free, {cached:.0f} cached; retractions {metric(text, 'radish_retractions_total'):.0f}")
    print("memory after: ", memory())
    bad = [k for k in counts if k.split(":")[0].startswith(("status", "broken", "error", "an answer"))]
    if free + cached != whole:
        bad.append("tokens of the pool are unaccounted for")
    if greedy(vocab) != before:
        bad.append("a greedy answer changed")
    get("/flush_cache")
    if metric(get("/metrics"), "radish_kv_free_tokens") != whole:
        bad.append("a flush leaves tokens behind")
    if bad:
        sys.exit("soak: " + "; ".join(bad))
    print("soak: all well")


main()
