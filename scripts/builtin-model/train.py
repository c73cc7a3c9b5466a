"""Trains the builtin model on one GPU and writes it in Hugging Face form: `python3 train.py --tokenizer DIR --out DIR`.

The model is plain LlamaForCausalLM; this file has its own small forward pass so that training needs nothing but torch.
AdamW, cosine schedule, bf16 autocast. The schedule ends at --steps or after --seconds, whichever comes first.
"""
import argparse
import json
import math
import pathlib
import random
import shutil
import time

import torch
import torch.nn.functional as F
from torch import nn

import batches
from tokenizer import BOS, END, PAD, VOCABULARY

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 256,
          "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 4,
          "head_dim": 32, "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
          "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "initializer_range": 0.02,
          "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True,
          "bos_token_id": BOS, "eos_token_id": END, "pad_token_id": PAD}


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, CONFIG["rms_norm_eps"]).to(x.dtype)


class Layer(nn.Module):
    """One Llama layer; the parameter names are Hugging Face's."""

    def __init__(self):
        super().__init__()
        h, m = CONFIG["hidden_size"], CONFIG["intermediate_size"]
        kv = CONFIG["num_key_value_heads"] * CONFIG["head_dim"]
        self.input_layernorm, self.post_attention_layernorm = Norm(h), Norm(h)
        self.self_attn = nn.ModuleDict({"q_proj": nn.Linear(h, h, bias=False), "k_proj": nn.Linear(h, kv, bias=False),
                                        "v_proj": nn.Linear(h, kv, bias=False), "o_proj": nn.Linear(h, h, bias=False)})
        self.mlp = nn.ModuleDict({"gate_proj": nn.Linear(h, m, bias=False), "up_proj": nn.Linear(h, m, bias=False),
                                  "down_proj": nn.Linear(m, h, bias=False)})

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        a, d = self.self_attn, CONFIG["head_dim"]
        y = self.input_layernorm(x)
        q, k, v = (a[n](y).view(b, t, -1, d).transpose(1, 2) for n in ("q_proj", "k_proj", "v_proj"))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        repeat = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + a["o_proj"](y.transpose(1, 2).reshape(b, t, -1))
        y = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](y)) * self.mlp["up_proj"](y))


def rotate(x, cos, sin):
    """Rotary position embedding, halves layout, as transformers does it."""
    first, second = x.chunk(2, -1)
    return (x * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


class Model(nn.Module):
    """Embedding, layers, final norm; the head is the embedding."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], CONFIG["hidden_size"])
        self.layers = nn.ModuleList(Layer() for _ in range(CONFIG["num_hidden_layers"]))
        self.norm = Norm(CONFIG["hidden_size"])
        for name, p in self.named_parameters():
            if p.dim() == 2:
                scale = 0.02 / math.sqrt(2 * len(self.layers)) if "o_proj" in name or "down_proj" in name else 0.02
                nn.init.normal_(p, std=scale)
        d = CONFIG["head_dim"]
        angle = torch.outer(torch.arange(2048.0), CONFIG["rope_theta"] ** (-torch.arange(0, d, 2) / d))
        angle = torch.cat((angle, angle), -1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, tokens):
        """Logits [b, t, vocabulary] for tokens [b, t]."""
        t = tokens.shape[1]
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, self.cos[:t], self.sin[:t])
        return F.linear(self.norm(x), self.embed_tokens.weight)


def loss_of(model, batch, device):
    """The weighted mean loss of a batch."""
    tokens = torch.from_numpy(batch[0]).to(device, torch.long, non_blocking=True)
    weights = torch.from_numpy(batch[1]).to(device, torch.float32, non_blocking=True)[:, 1:]
    with torch.autocast(device.type, torch.bfloat16):
        logits = model(tokens[:, :-1])
    loss = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return (loss * weights.flatten()).sum() / weights.sum()


def optimizer_of(model, rate):
    """AdamW with decay on matrices only."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=torch.cuda.is_available())


def fit(model, args, device):
    """The training loop. Returns the number of steps and tokens."""
    optimizer = optimizer_of(model, args.rate)
    began, seen = time.time(), 0
    stream = batches.stream(str(args.tokenizer / "tokenizer.json"), args.budget, args.workers, args.seed)
    for step, batch in enumerate(stream, 1):
        spent = time.time() - began
        progress = max(step / args.steps, spent / args.seconds)
        if progress >= 1:
            return step - 1, seen
        rate = args.rate * min(1, step / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(model, batch, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen += batch[0].size
        if step % args.every == 0 or step == 5:
            print(f"step {step} loss {loss.item():.4f} rate {rate:.5f} tokens {seen / 1e6:.1f}M {spent:.0f} s", flush=True)


def export(model, args):
    """Writes config, generation config, tokenizer files and bf16 weights."""
    from safetensors.torch import save_file
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {"model." + n: p.detach().to("cpu", torch.bfloat16).contiguous() for n, p in model.named_parameters()}
    save_file(tensors, str(args.out / "model.safetensors"), metadata={"format": "pt"})
    (args.out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    generation = {"bos_token_id": BOS, "eos_token_id": END, "pad_token_id": PAD, "do_sample": False, "max_new_tokens": 256}
    (args.out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(args.tokenizer / name, args.out / name)


def held_out_loss(model, args, device):
    """The mean assistant loss on conversations made of held-out phrasings."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    batches.CHUNK = 600
    rows = batches.chunk(tokenizer, batches.conversation.World(), random.Random(7), args.budget, test=True)
    with torch.no_grad():
        return sum(loss_of(model, ((b[0]), (b[1] >= 1).astype("float16")), device).item() for b in rows) / len(rows)


def arguments():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--seconds", type=float, default=270)
    parser.add_argument("--budget", type=int, default=49152, help="tokens in a batch")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--workers", type=int, default=13)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=500)
    return parser.parse_args()


def main():
    """Trains, exports, reports."""
    args = arguments()
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Model().to(device)
    print(f"{sum(p.numel() for p in model.parameters())} parameters on {device}", flush=True)
    began = time.time()
    steps, seen = fit(model, args, device)
    report = {"steps": steps, "tokens": seen, "seconds": round(time.time() - began, 1)}
    export(model, args)
    report["held_out_loss"] = round(held_out_loss(model, args, device), 4)
    print("trained:", json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
