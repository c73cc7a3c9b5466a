"""Makes the tiny random models and their golden answers for server/model's tests.

Every model is a directory: config.json and safetensors as a Hugging Face repository has them, golden.json (prompts,
greedy continuations, which positions were kept) and logits.f32 (the kept rows, one after the other, little endian).
The answers come from Hugging Face transformers in float32 with eager attention and no cache, reading the very files
that are committed; the Go code under test had no part in them.

    python3 make_goldens.py OUTDIR

The weights are drawn so that a wrong model is seen: layers weigh more than embeddings in the residual stream, norms
and biases are far from one and zero, and a seed is passed over when a greedy choice was closer than MIN_GAP.
"""

import json
import math
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoConfig

LENGTHS = (1, 17, 100)
NEW_TOKENS = 32
MIN_GAP = 0.02  # in logits, whose deviation is about 3

BASE = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 512,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def family(architecture, model_type, dtype, **changes):
    """A config.json in the form that the hub's repositories have, older than transformers 5's."""
    return {"architectures": [architecture], "model_type": model_type, "torch_dtype": dtype, **BASE, **changes}


# name -> (config, number of shards)
MODELS = {
    "llama3": (family("LlamaForCausalLM", "llama", "bfloat16", rope_scaling=LLAMA3_ROPE, rope_theta=500.0), 1),
    "llama-tied-f16": (family("LlamaForCausalLM", "llama", "float16", tie_word_embeddings=True,
                              num_key_value_heads=4), 1),
    "llama-linear-sharded": (family("LlamaForCausalLM", "llama", "bfloat16", num_hidden_layers=3,
                                    rope_scaling={"type": "linear", "factor": 4.0}), 3),
    "llama-bias": (family("LlamaForCausalLM", "llama", "bfloat16", attention_bias=True, mlp_bias=True), 1),
    "mistral": (family("MistralForCausalLM", "mistral", "bfloat16", sliding_window=24, head_dim=32,
                       rope_theta=1000000.0), 1),
    "qwen2": (family("Qwen2ForCausalLM", "qwen2", "bfloat16", tie_word_embeddings=True, use_sliding_window=False,
                     sliding_window=16, max_window_layers=1, rms_norm_eps=1e-6), 1),
    "qwen2-window": (family("Qwen2ForCausalLM", "qwen2", "bfloat16", use_sliding_window=True,
                            sliding_window=16, max_window_layers=1, rms_norm_eps=1e-6), 1),
    "qwen3": (family("Qwen3ForCausalLM", "qwen3", "bfloat16", head_dim=32, rms_norm_eps=1e-6,
                     use_sliding_window=False, sliding_window=None, rope_theta=1000000.0), 1),
    "qwen3-tied-f32": (family("Qwen3ForCausalLM", "qwen3", "float32", tie_word_embeddings=True, head_dim=24,
                              rms_norm_eps=1e-6, intermediate_size=80), 1),
}
NEW_FORM = {"qwen3-tied-f32"}  # config.json as transformers 5 writes it: rope_parameters, dtype, layer_types


def draw(name, shape, gen, tied):
    """One weight: the deviation is chosen by the part the tensor plays."""
    x = torch.randn(shape, generator=gen, dtype=torch.float32)
    if name.endswith("norm.weight"):
        return 1 + 0.25 * x
    if name.endswith(".bias"):
        return 0.5 * x
    if "embed_tokens" in name:
        return x * (0.4 if tied else 0.5)
    if "lm_head" in name:
        return x * 3 / math.sqrt(shape[1])
    return x * 1.2 / math.sqrt(shape[1])


def write_model(path, name, config, shards, seed):
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))
    tied = config["tie_word_embeddings"]
    gen = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, config["torch_dtype"])
    state = {k: draw(k, v.shape, gen, tied).to(dtype).contiguous()
             for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    if name in NEW_FORM:
        AutoConfig.from_pretrained(path).save_pretrained(path)
    if shards == 1:
        save_file(state, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
    else:
        write_shards(path, state, shards)


def write_shards(path, state, shards):
    names = list(state)
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in state.values())}, "weight_map": {}}
    for i in range(shards):
        part = names[i * len(names) // shards:(i + 1) * len(names) // shards]
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        save_file({n: state[n] for n in part}, os.path.join(path, file), metadata={"format": "pt"})
        index["weight_map"].update({n: file for n in part})
    with open(os.path.join(path, "model.safetensors.index.json"), "w") as f:
        json.dump(index, f, indent=1)
        f.write("\n")


def logits_of(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens]), use_cache=False).logits[0].float()


def greedy(model, prompt):
    """The continuation and the smallest distance of the chosen logit to the next."""
    tokens, gap = list(prompt), math.inf
    for _ in range(NEW_TOKENS):
        top = logits_of(model, tokens)[-1].topk(2)
        gap = min(gap, (top.values[0] - top.values[1]).item())
        tokens.append(top.indices[0].item())
    return tokens[len(prompt):], gap


def kept(length):
    """Positions whose logits are committed: all of a short prompt, borders of pages and windows of a long one."""
    if length <= 17:
        return list(range(length))
    return [0, 15, 16, 17, 23, 24, 31, 32, 63, 64, length - 2, length - 1]


def answers(path, seed):
    """Golden answers of the model in path, or None when a greedy choice was too close."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    assert next(model.parameters()).dtype == torch.float32
    gen = torch.Generator().manual_seed(1000 + seed)
    cases, rows = [], []
    for length in LENGTHS:
        prompt = torch.randint(3, BASE["vocab_size"], (length,), generator=gen).tolist()
        output, gap = greedy(model, prompt)
        if gap < MIN_GAP:
            return None
        rows.append(logits_of(model, prompt)[kept(length)])
        cases.append({"prompt": prompt, "positions": kept(length), "greedy": output, "min_gap": round(gap, 4)})
    return cases, torch.cat(rows), bf16_error(path, cases, torch.cat(rows))


def bf16_error(path, cases, want):
    """The relative error of transformers' own bfloat16 run: a yardstick, not a golden."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16, attn_implementation="eager").eval()
    got = torch.cat([logits_of(model, c["prompt"])[c["positions"]] for c in cases])
    return ((got - want).norm() / want.norm()).item()


def main():
    import transformers
    made = f"transformers {transformers.__version__}, torch {torch.__version__}, float32, eager attention"
    torch.set_num_threads(4)
    for name, (config, shards) in MODELS.items():
        path = os.path.join(sys.argv[1], name)
        for seed in range(1, 200):
            write_model(path, name, config, shards, seed)
            found = answers(path, seed)
            if found:
                break
        cases, rows, error = found
        with open(os.path.join(path, "golden.json"), "w") as f:
            json.dump({"made_with": made, "seed": seed, "vocab": BASE["vocab_size"], "cases": cases}, f)
            f.write("\n")
        rows.numpy().astype("<f4").tofile(os.path.join(path, "logits.f32"))
        size = sum(os.path.getsize(os.path.join(path, f)) for f in os.listdir(path))
        print(f"{name}: seed {seed}, {size} bytes, logits deviation {rows.std():.2f}, "
              f"gaps {[c['min_gap'] for c in cases]}, different tokens {[len(set(c['greedy'])) for c in cases]}, "
              f"bfloat16 error {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
