"""Write a model directory of Llama-3-8B's shape for speed measurements: python3 scripts/gpu/model.py DIR [--weights]

config.json has the published shape; the tokenizer is the builtin model's, its vocabulary filled up so that every id that
random weights choose has a text. With --weights (needs torch and safetensors) it also writes 16 GB of random bfloat16
weights in four files, for measuring how fast they load; without, serve it with --load-format dummy.
"""

import json
import pathlib
import sys

VOCAB = 128256
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": VOCAB, "max_position_embeddings": 16384, "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0, "tie_word_embeddings": False, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
}


def tokenizer(source: pathlib.Path) -> dict:
    t = json.loads((source / "tokenizer.json").read_text())
    vocab = t["model"]["vocab"]
    used = set(vocab.values()) | {a["id"] for a in t["added_tokens"]}
    for i in range(VOCAB):
        if i not in used:
            vocab[f"Ġw{i}"] = i
    return t


def weights(out: pathlib.Path) -> None:
    import torch
    from safetensors.torch import save_file

    c, device = CONFIG, "cuda" if torch.cuda.is_available() else "cpu"
    h, inter, kv = c["hidden_size"], c["intermediate_size"], c["hidden_size"] // 32 * c["num_key_value_heads"]

    def matrix(rows, cols):
        return (torch.randn(rows, cols, device=device, dtype=torch.bfloat16) * cols**-0.5).cpu()

    shapes = {"model.embed_tokens.weight": (VOCAB, h), "lm_head.weight": (VOCAB, h), "model.norm.weight": (h,)}
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}."
        shapes |= {at + "self_attn.q_proj.weight": (h, h), at + "self_attn.k_proj.weight": (kv, h),
                   at + "self_attn.v_proj.weight": (kv, h), at + "self_attn.o_proj.weight": (h, h),
                   at + "mlp.gate_proj.weight": (inter, h), at + "mlp.up_proj.weight": (inter, h),
                   at + "mlp.down_proj.weight": (h, inter), at + "input_layernorm.weight": (h,),
                   at + "post_attention_layernorm.weight": (h,)}
    names, index, parts = sorted(shapes), {}, 4
    for part in range(parts):
        file = f"model-{part + 1:05d}-of-{parts:05d}.safetensors"
        mine = names[part::parts]
        save_file({n: matrix(*shapes[n]) if len(shapes[n]) == 2 else torch.ones(*shapes[n], dtype=torch.bfloat16) for n in mine}, out / file)
        index |= {n: file for n in mine}
    (out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    source = pathlib.Path(__file__).resolve().parents[2] / "provision/builtin/model"
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2))
    (out / "tokenizer.json").write_text(json.dumps(tokenizer(source), ensure_ascii=False))
    (out / "tokenizer_config.json").write_text((source / "tokenizer_config.json").read_text())
    if "--weights" in sys.argv:
        weights(out)


main()
