"""Trains one small tokenizer of every family with the tokenizers library and writes what that library makes of random
and chosen texts. Run in this directory: pip install tokenizers==0.23.3; python3 make_goldens.py
"""
import json, os, random, unicodedata
from tokenizers import AddedToken, Tokenizer, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

WORDS = ("the server reads a model and then answers every question about a pod with its cache of pages the cat isn't "
         "don't we'll they've hello world Hello World tokens are counted 12 345 6789 naïve café über straße привет мир "
         "你好 世界 こんにちは 안녕 done run running runner ran cached caching cache").split()
MARKS = ["<s>", "</s>", "<|eot|>", "<think>", "<|pad|>"]
EXTRA = [" ", "  ", "   ", "\n", "\r\n", "\n\n", "\t", "\u3000", "\u00a0", "'s", "'S", "'ſ", "'LL", "'re", "1", "22", "333",
         "4444", "٣", "½", "é", "e\u0301", "\u0301\u0323", "😀", "👩‍👩‍👧", "▁", "▁▁", "-", "...", "!?", "\x00", "ſ", "ﬁ", "Å", "x"]


def corpus(r, n):
    return [" ".join(r.choice(WORDS) for _ in range(r.randint(3, 20))) + r.choice([".", "!", "\n"]) for _ in range(n)]


def train(tok, r, alphabet, size=700):
    tok.train_from_iterator(corpus(r, 2000), trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False))
    return tok


def byte_level(r, split, ignore, nfc, prefix=False):
    tok = Tokenizer(models.BPE(ignore_merges=ignore))
    if nfc:
        tok.normalizer = normalizers.NFC()
    last = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=split is None)
    tok.pre_tokenizer = last if split is None else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), last])
    tok.decoder = decoders.ByteLevel()
    train(tok, r, pre_tokenizers.ByteLevel.alphabet())
    return tok


def sentencepiece(r, scheme):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if scheme == "legacy":
        tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        trainer_pre = pre_tokenizers.Metaspace(prepend_scheme="never")
    else:
        trainer_pre = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    train(tok, r, [], 500)
    tok.pre_tokenizer = trainer_pre
    spec = json.loads(tok.to_str())
    if scheme == "legacy":
        spec["pre_tokenizer"] = None
    vocab = spec["model"]["vocab"]
    for b in range(256):
        vocab["<0x%02X>" % b] = len(vocab)
    tok = Tokenizer.from_str(json.dumps(spec))
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                     decoders.Strip(" ", 1, 0)])
    return tok


def finish(tok):
    tok.add_special_tokens([AddedToken("<s>", normalized=False), AddedToken("</s>", normalized=True),
                            AddedToken("<|eot|>", normalized=False, rstrip=True), AddedToken("<|pad|>", lstrip=True)])
    tok.add_tokens([AddedToken("<think>", normalized=False), AddedToken("runner", single_word=True, normalized=True)])
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", tok.token_to_id("<s>")), ("</s>", tok.token_to_id("</s>"))])
    return tok


def text(r):
    kind = r.choice([WORDS, EXTRA, WORDS + EXTRA, WORDS + EXTRA + MARKS])
    return "".join(r.choice(kind) + r.choice(["", "", " "]) for _ in range(r.randint(0, 14)))


STARTERS = ["", "a", "e", "\u1e0b", "\u00e9", "\u1100", "\u1161", "\uac00", "\u11a8", "\u0915", "\ufb01", "\u2126", "x"]
COMBINING = ["\u0301", "\u0323", "\u0308", "\u0327", "\u0345", "\u0304", "\u093c", "\u05b0", "\u3099", "\u0f71", "\u034f"]


def marks():
    """Texts with runs of up to 80 combining marks, and their normal forms by Python's unicodedata."""
    r = random.Random("marks")
    with open("marks.jsonl", "w") as f:
        for _ in range(80):
            s = ""
            for _ in range(r.randint(1, 3)):
                s += r.choice(STARTERS) + "".join(r.choices(COMBINING, k=r.choice([1, 3, 9, 31, 80])))
            row = {form: unicodedata.normalize(form, s) for form in ["NFC", "NFD", "NFKC", "NFKD"]}
            f.write(json.dumps({"text": s, **row}) + "\n")


def main():
    marks()
    families = {
        "gpt2": lambda r: byte_level(r, None, False, False),
        "gpt2-prefix": lambda r: byte_level(r, None, False, False, True),
        "llama3": lambda r: byte_level(r, HEAD + "{1,3}" + TAIL, True, False),
        "qwen2": lambda r: byte_level(r, HEAD + TAIL, False, True),
        "llama2-legacy": lambda r: sentencepiece(r, "legacy"),
        "llama2-always": lambda r: sentencepiece(r, "always"),
        "mistral-first": lambda r: sentencepiece(r, "first"),
    }
    cases = int(os.environ.get("CASES", "150"))
    seed = os.environ.get("SEED", "")
    for name, make in families.items():
        tok = finish(make(random.Random(name)))
        os.makedirs(name, exist_ok=True)
        tok.save(name + "/tokenizer.json")
        r = random.Random(name + " texts" + seed)
        with open(name + "/goldens.jsonl", "w") as f:
            for _ in range(cases):
                s = text(r)
                tok.encode_special_tokens = False
                ids = tok.encode(s, add_special_tokens=False).ids
                full = tok.encode(s).ids
                tok.encode_special_tokens = True
                plain = tok.encode(s, add_special_tokens=False).ids
                mixed = [r.randrange(tok.get_vocab_size()) for _ in range(r.randint(0, 8))]
                row = {"text": s, "ids": ids, "full": full, "plain": plain, "mixed": mixed,
                       "text_of_ids": tok.decode(ids, skip_special_tokens=False),
                       "text_of_mixed": tok.decode(mixed, skip_special_tokens=True)}
                f.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
