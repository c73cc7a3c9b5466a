"""Makes the folder vectors: llama.cpp's public tokenizer vectors with vocabularies small enough to keep, and what the
tokenizers library makes of random texts with the full vocabularies.

    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36
    pip install gguf numpy tokenizers==0.23.3
    python3 make_vectors.py llama_cpp_python-0.3.36.tar.gz [FOLDER [NAME ...]]

With FOLDER, the full tokenizer.json of every family is written there as NAME/tokenizer.json; with names, of these.

Per family the GGUF vocabulary becomes the tokenizer.json that the published model has. It must give the ids of the .out
file in the tokenizers library, else the script stops. Then all is dropped that cannot matter: a merge joins two
neighbours of a text, so its parts and its product are all spelled by some stretch of the (normalized) text. A merge whose
product is spelled nowhere in the texts can never apply, so without it every other merge applies as before, by the same
ranks. Kept are exactly the pieces and merges whose product the texts spell, every single byte or character, and the
control tokens. Ids stay what they were. That full and reduced give the same ids is checked besides.
"""
import gzip, json, os, random, sys, tarfile, tempfile, unicodedata
import gguf
from tokenizers import Tokenizer

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
SEPARATOR = "\n__ggml_vocab_test__\n"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PLAIN = dict(BYTES, use_regex=False)
SPACE = "▁"


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def sequence(*steps, of="pretokenizers"):
    return {"type": "Sequence", of: list(steps)}


def replace(a, b):
    return {"type": "Replace", "pattern": {"String": a}, "content": b}


FUSE = [replace(SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
FAMILIES = {
    "llama-bpe": dict(pre=sequence(split(LLAMA3), PLAIN), options={"ignore_merges": True}),
    "qwen2": dict(pre=sequence(split(QWEN2), PLAIN), norm={"type": "NFC"}),
    "gpt-2": dict(pre=BYTES),
    "starcoder": dict(pre=sequence({"type": "Digits", "individual_digits": True}, BYTES)),
    "mpt": dict(pre=BYTES, norm={"type": "NFC"}),
    "llama-spm": dict(norm=sequence({"type": "Prepend", "prepend": SPACE}, replace(" ", SPACE), of="normalizers"),
                      options={"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"},
                      decoder=sequence(*FUSE, STRIP, of="decoders")),
    "gemma-4": dict(norm=replace(" ", SPACE),
                    pre={"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
                    options={"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"},
                    decoder=sequence(*FUSE, of="decoders")),
}


def merges_of(vocab, scores):
    """The merges of a sentencepiece vocabulary: every way to cut a piece in two, best score of the whole first."""
    out = []
    for piece in vocab:
        for i in range(1, len(piece)):
            if piece[:i] in vocab and piece[i:] in vocab:
                out.append((-scores[vocab[piece]], -i, [piece[:i], piece[i:]]))
    return [pair for _, _, pair in sorted(out, key=lambda x: x[:2])]


def convert(path, pre=None, norm=None, decoder=PLAIN, options={}):
    """tokenizer.json of a GGUF vocabulary. Token types: 1 normal, 2 unknown, 3 control, 4 added, 5 unused, 6 byte."""
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    vocab = {t: i for i, t in enumerate(tokens) if types[i] != 5}
    if "tokenizer.ggml.merges" in fields:
        merges = [m.split(" ") for m in fields["tokenizer.ggml.merges"].contents()]
        assert all(len(m) == 2 for m in merges)
    else:
        normal = {t: i for t, i in vocab.items() if types[i] == 1}
        merges = merges_of(normal, fields["tokenizer.ggml.scores"].contents())
    added = [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=types[i] < 4)
             for t, i in vocab.items() if types[i] in (2, 3, 4)]
    model = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                 fuse_unk=False, byte_fallback=False, ignore_merges=False)
    model.update(options, vocab=vocab, merges=merges)
    return dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=norm, pre_tokenizer=pre,
                post_processor=None, decoder=decoder, model=model)


def library(spec):
    tok = Tokenizer.from_str(json.dumps(spec))
    tok.encode_special_tokens = True
    return tok


def ids(tok, text):
    return tok.encode(text, add_special_tokens=False).ids


def reduce(spec, texts):
    """spec without what texts cannot reach."""
    bytewise = spec["decoder"]["type"] == "ByteLevel"
    to = dict(zip([chr(b) for b in range(256)], BYTE_RUNES))
    spelled = []
    for t in texts:
        for form in {t, unicodedata.normalize("NFC", t)} if spec["normalizer"] == {"type": "NFC"} else {t}:
            spelled.append("".join(to[chr(b)] for b in form.encode()) if bytewise else SPACE + form.replace(" ", SPACE))
    spelled = "\ufdd0".join(spelled)  # a character of no piece
    model = spec["model"]
    single = lambda p: len(p) == 1 if bytewise else len(p) == 6 and p.startswith("<0x")
    added = {a["content"] for a in spec["added_tokens"]}
    keep_added = {a["content"] for a in spec["added_tokens"][:40]} | {a for a in added if a in "\n".join(texts)}
    vocab = {p: i for p, i in model["vocab"].items()
             if p in keep_added or p not in added and (single(p) or p in spelled)}
    merges = [m for m in model["merges"] if m[0] + m[1] in spelled]
    assert all(p in vocab for m in merges for p in (m[0], m[1], m[0] + m[1]))
    return dict(spec, added_tokens=[a for a in spec["added_tokens"] if a["content"] in keep_added],
                model=dict(model, vocab=vocab, merges=merges))


def byte_runes():
    out, extra = [], 256
    for b in range(256):
        if b <= 32 or 127 <= b <= 160 or b == 173:
            out.append(chr(extra))
            extra += 1
        else:
            out.append(chr(b))
    return out


BYTE_RUNES = byte_runes()
ODD = [" ", "  ", "\n", "\r\n", "\t", "\u3000", "\u00a0", "\u2028", "'s", "'S", "'ſ", "'LL", "'ve", "12", "3456", "٣٤", "½", "²",
       "e\u0301", "\u0301\u0323", "\u1100\u1161\u11a8", "각", "😀", "👩‍👩‍👧", "🏳️‍🌈", "▁", "-", "...", "!?\n", "\x00", "\x7f", "ﬁ", "Å",
       "Å", "नमस्ते", "สวัสดี", "مرحبا", "שלום", "Привет", "你好世界", "ありがとう", "Tiếng Việt", "ß", "İ", "𝒳", "𠀀", "\U0001f600", "\U00040000", "\U0004abcd",
       "<|eot_id|>", "<|im_end|>", "</s>", "<eos>"]


def random_texts(name, texts):
    """Texts made of words, stretches and odd characters of the vectors."""
    r = random.Random(name)
    words = [w for t in texts for w in t.split(" ") if w]
    out = []
    for _ in range(120):
        parts = []
        for _ in range(r.randint(1, 10)):
            t = r.choice(texts) or " "
            i = r.randrange(len(t))
            parts.append(r.choice([r.choice(words), r.choice(ODD), r.choice(ODD), t[i:i + r.randint(1, 12)]]))
            parts.append(r.choice(["", " "]))
        out.append("".join(parts))
    return out


def write(path, data):
    with open(path, "wb") as f:
        with gzip.GzipFile(fileobj=f, mode="wb", compresslevel=9, mtime=0, filename="") as z:
            z.write(data)
    assert os.path.getsize(path) < 300_000, path


def compact(x):
    return json.dumps(x, ensure_ascii=False, separators=(",", ":")).encode()


def one(name, path, full_dir):
    load = lambda ext: open(path + ext, encoding="utf-8", newline="").read()
    texts = load(".inp").removesuffix(SEPARATOR).split(SEPARATOR)
    want = [[int(x) for x in line.split()] for line in load(".out").split("\n")]
    spec = convert(path, **FAMILIES[name])
    full = library(spec)
    for t, w in zip(texts, want):
        assert ids(full, t) == w, (name, t)
    more = random_texts(name, texts)
    if name in ("llama-bpe", "llama-spm"):
        more.append(open("vectors/prose.txt", encoding="utf-8").read())
    small = reduce(spec, texts + more)
    tok = library(small)
    assert all(ids(tok, t) == ids(full, t) for t in texts + more), name
    write(f"vectors/{name}.tokenizer.json.gz", compact(small))
    write(f"vectors/{name}.vectors.json.gz", compact([{"text": t, "ids": w} for t, w in zip(texts, want)]))
    write(f"vectors/{name}.random.json.gz", compact([{"text": t, "ids": ids(full, t)} for t in more]))
    print(name, len(texts), "vectors,", len(small["model"]["vocab"]), "pieces,", len(small["model"]["merges"]), "merges")
    if full_dir:
        os.makedirs(f"{full_dir}/{name}", exist_ok=True)
        with open(f"{full_dir}/{name}/tokenizer.json", "w") as f:
            json.dump(spec, f, ensure_ascii=False, indent=1)


def main():
    with tempfile.TemporaryDirectory() as tmp, tarfile.open(sys.argv[1]) as tar:
        for m in tar:
            base = os.path.basename(m.name)
            if base.startswith("ggml-vocab-"):
                with open(f"{tmp}/{base}", "wb") as f:
                    f.write(tar.extractfile(m).read())
        for name in sys.argv[3:] or FAMILIES:
            one(name, f"{tmp}/ggml-vocab-{name}.gguf", sys.argv[2] if len(sys.argv) > 2 else "")


main()
