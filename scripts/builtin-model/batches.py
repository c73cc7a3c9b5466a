"""Turns generated conversations into padded batches of tokens, in worker processes, each with its own seed."""
import multiprocessing
import random

import numpy
from tokenizers import Tokenizer

import conversation
from tokenizer import ASSISTANT, BOS, END, PAD, ROLES

CHUNK = 12000       # conversations per chunk; a chunk is sorted by length, so that little is padded
LONGEST = 2048
LOW_WEIGHT = 0.08   # the loss on what the user and the system say, against 1 for the assistant


def encode(tokenizer, talks):
    """Token and weight arrays, one pair per conversation. weights[i] belongs to the prediction of tokens[i]."""
    pieces = tokenizer.encode_batch([text for talk in talks for _, text in talk])
    rows, at = [], 0
    for talk in talks:
        tokens, weights = [BOS], [0.0]
        for role, _ in talk:
            ids = pieces[at].ids
            at += 1
            own = role == "assistant"
            tokens += [ROLES[role], *ids, END]
            weights += [0.0] + [1.0 if own else LOW_WEIGHT] * len(ids) + [1.0 if own else LOW_WEIGHT]
        rows.append((tokens[:LONGEST], weights[:LONGEST]))
    return rows


def pad(rows):
    """One batch: int16 tokens and float16 weights of shape [rows, length], length a multiple of 64."""
    length = -(-max(len(t) for t, _ in rows) // 64) * 64
    tokens = numpy.full((len(rows), length), PAD, numpy.int16)
    weights = numpy.zeros((len(rows), length), numpy.float16)
    for i, (t, w) in enumerate(rows):
        tokens[i, :len(t)], weights[i, :len(w)] = t, w
    return tokens, weights


def chunk(tokenizer, world, rng, budget, test=False):
    """The batches of one chunk, at most budget tokens each, in random order."""
    rows = encode(tokenizer, [conversation.make(world, rng, test) for _ in range(CHUNK)])
    rows.sort(key=lambda row: len(row[0]))
    batches, start = [], 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and (end + 1 - start) * (-(-len(rows[end][0]) // 64) * 64) <= budget:
            end += 1
        batches.append(pad(rows[start:end]))
        start = end
    rng.shuffle(batches)
    return batches


def work(queue, path, seed, budget):
    """A worker: fills the queue until it is ended."""
    tokenizer, world, rng = Tokenizer.from_file(path), conversation.World(), random.Random(seed)
    while True:
        for batch in chunk(tokenizer, world, rng, budget):
            queue.put(batch)


def stream(path, budget, workers, seed):
    """An endless stream of batches from worker processes."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue(maxsize=400)
    for i in range(workers):
        context.Process(target=work, args=(queue, path, seed * 1000 + i, budget), daemon=True).start()
    while True:
        yield queue.get()


__all__ = ["stream", "chunk", "encode", "ASSISTANT", "END"]
