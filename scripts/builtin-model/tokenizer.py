"""Trains the byte-level BPE and writes tokenizer.json, tokenizer_config.json: `python3 tokenizer.py DIR`.

Deterministic: the text is drawn with a fixed seed. 3,072 tokens: 6 control tokens, 256 bytes, the rest merges.
"""
import json
import pathlib
import random
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import conversation

VOCABULARY = 3072
CONTROL = ["<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
PAD, BOS, END, SYSTEM, USER, ASSISTANT = range(6)
ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}
TEMPLATE = ("{{ bos_token }}{% for message in messages %}"
            "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
            "{{ raise_exception('the roles are system, user and assistant') }}{% endif %}"
            "{{ {'system': '<|system|>', 'user': '<|user|>', 'assistant': '<|assistant|>'}[message['role']] + message['content'] | trim + '<|end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")


def train():
    """The tokenizer, trained on 60,000 conversations."""
    world, rng = conversation.World(), random.Random(20261124)
    text = (message for _ in range(60000) for _, message in conversation.make(world, rng))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=CONTROL, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(text, trainer)
    return tokenizer


def main(directory):
    """Writes the two files."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = train()
    if tokenizer.get_vocab_size() != VOCABULARY or [tokenizer.token_to_id(t) for t in CONTROL] != list(range(6)):
        raise SystemExit("the vocabulary did not come out as planned")
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|bos|>", "eos_token": "<|end|>",
              "pad_token": "<|pad|>", "add_bos_token": False, "clean_up_tokenization_spaces": False,
              "model_max_length": 2048, "chat_template": TEMPLATE}
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
