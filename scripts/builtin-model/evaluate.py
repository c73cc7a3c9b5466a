"""Asks the exported model held-out questions and writes the golden answers: `python3 evaluate.py DIR GOLDEN.json`.

Uses transformers, so the exported files are tested as anybody else would load them. Everything is float32 on the CPU or
GPU, with the weights as they were rounded to bf16.
"""
import json
import random
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import conversation

GOLDEN = [
    [("user", "What is RadixAttention?")],
    [("system", "You are a helpful assistant."), ("user", "how do i pull a model")],
    [("user", "hello"), ("assistant", "Hello! Nice to meet you. Ask me about radish, model serving or GPU pods."),
     ("user", "my port 8888 is in use")],
    [("user", "Does a 7B model fit on an RTX 4090?")],
    [("user", "What is the capital of France?")],
    [("user", "tell me a joke"), ("assistant", "Why did the radish get the job? Because it went straight to the root of the problem."),
     ("user", "thanks"), ("assistant", "You are welcome!"), ("user", "what was my first question")],
]
SHOWN = ["Hi! Who are you?", "What does radish do?", "can you explain how the prefix cache works", "why is my first token so slow?",
         "My GPU is out of memory, what can I do?", "which command downloads weights?", "how do I see the log of the server",
         "what is TTFT", "difference between prefill and decode?", "How much memory does a 13B model need?", "what is 7 plus 5?",
         "what is 34 + 55", "Who was Napoleon?", "write a python script", "what is a zorbel", "is an H100 faster than a T4?",
         "tell me a joke please", "What's the weather like today?", "what is the day after friday", "I'm Anna", "how do I make tea",
         "what happens when the queue is full", "my server was killed with exit code 137", "do I need CUDA to build radish?",
         "what is a dog", "how many requests can run at the same time", "what does error 804 mean?", "radishes taste good"]


class Model:
    """The exported model as transformers sees it."""

    def __init__(self, directory, device):
        self.device = device
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).to(device).eval()

    def prompt(self, messages):
        """Rendered text and token ids of a chat."""
        rows = [{"role": r, "content": t} for r, t in messages]
        text = self.tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=True)
        return text, self.tokenizer.encode(text, add_special_tokens=False)

    @torch.no_grad()
    def answer(self, ids, limit=96):
        """The greedy continuation and the smallest gap between the best two logits on the way."""
        made, gap, cache, feed = [], float("inf"), None, ids
        while len(made) < limit:
            out = self.model(torch.tensor([feed], device=self.device), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            best = out.logits[0, -1].float().topk(2)
            gap = min(gap, (best.values[0] - best.values[1]).item())
            made.append(best.indices[0].item())
            feed = made[-1:]
            if made[-1] == self.tokenizer.eos_token_id:
                break
        return made, gap


def golden(model):
    """The golden conversations: rendered text, prompt ids, greedy ids, text and the smallest logit gap."""
    rows = []
    for messages in GOLDEN:
        text, ids = model.prompt(messages)
        made, gap = model.answer(ids)
        rows.append({"messages": [{"role": r, "content": t} for r, t in messages], "prompt": text, "prompt_ids": ids,
                     "answer_ids": made, "answer": model.tokenizer.decode(made, skip_special_tokens=True), "min_gap": round(gap, 5)})
    return rows


def score(model, count=400, show=70):
    """Exact answers on held-out single questions, by source."""
    right, total = {}, {}
    for i, (question, answers, source) in enumerate(conversation.test_questions(conversation.World(), random.Random(11), count)):
        made, _ = model.answer(model.prompt([("user", question)])[1])
        text = model.tokenizer.decode(made, skip_special_tokens=True)
        good = text in answers or text in {conversation.first_sentence(a) for a in answers}
        total[source], right[source] = total.get(source, 0) + 1, right.get(source, 0) + good
        if i < show or not good:
            print("+" if good else "-", f"[{source}]", question, "=>", text, flush=True)
    print("held out, exact:", {s: f"{right[s]}/{n}" for s, n in total.items()}, sum(right.values()) / count)


def main(directory, path):
    """Prints the transcript and the score, writes the golden file."""
    model = Model(directory, "cpu")
    rows = golden(model)
    with open(path, "w", encoding="utf-8") as out:
        json.dump(rows, out, indent=1)
        out.write("\n")
    for row in rows:
        print(row["prompt"], "=>", row["answer"], row["min_gap"])
    model = Model(directory, "cuda" if torch.cuda.is_available() else "cpu")
    for question in SHOWN:
        print("?", question, "=>", model.tokenizer.decode(model.answer(model.prompt([("user", question)])[1])[0], skip_special_tokens=True))
    score(model)


if __name__ == "__main__":
    main(*sys.argv[1:3])
