"""Questions and answers made from small tables: GPUs, CUDA versions, memory sums, numbers, days and opposites.

The GPU and CUDA figures are NVIDIA's own: data sheets, the compute-capability page and the CUDA release notes.
"""
from grammar import Entry, all_forms

# name: (memory in GB, compute capability, first CUDA, bf16, fp8)
GPUS = {
    "V100": ("16 or 32", "7.0", "9.0", False, False), "T4": ("16", "7.5", "10.0", False, False),
    "A100": ("40 or 80", "8.0", "11.0", True, False), "A30": ("24", "8.0", "11.0", True, False),
    "A40": ("48", "8.6", "11.1", True, False), "A10": ("24", "8.6", "11.1", True, False),
    "RTX A6000": ("48", "8.6", "11.1", True, False), "RTX 3090": ("24", "8.6", "11.1", True, False),
    "L4": ("24", "8.9", "11.8", True, True), "L40": ("48", "8.9", "11.8", True, True),
    "L40S": ("48", "8.9", "11.8", True, True), "RTX 6000 Ada": ("48", "8.9", "11.8", True, True),
    "RTX 4090": ("24", "8.9", "11.8", True, True), "H100": ("80", "9.0", "11.8", True, True),
    "H200": ("141", "9.0", "11.8", True, True), "RTX 5090": ("32", "12.0", "12.8", True, True),
    "RTX PRO 6000": ("96", "12.0", "12.8", True, True),
}
# CUDA version: (driver that its toolkit brings, oldest driver of the major version)
CUDAS = {"11.8": ("520.61.05", "450"), "12.0": ("525.60.13", "525"), "12.1": ("530.30.02", "525"),
         "12.2": ("535.54.03", "525"), "12.4": ("550.54.14", "525"), "12.6": ("560.28.03", "525"),
         "12.8": ("570.26", "525"), "12.9": ("575.51.03", "525"), "13.0": ("580.65.06", "580")}
SIZES = ["0.5", "1", "1.5", "3", "4", "7", "8", "13", "14", "27", "32", "34", "70", "72"]
OPPOSITES = {"hot": "cold", "big": "small", "fast": "slow", "good": "bad", "up": "down", "left": "right", "day": "night",
             "open": "closed", "old": "new", "high": "low", "long": "short", "full": "empty", "hard": "easy",
             "light": "dark", "wet": "dry", "near": "far", "early": "late", "strong": "weak", "happy": "sad",
             "first": "last", "black": "white", "true": "false", "start": "stop", "yes": "no", "rich": "poor"}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
NUMBERS = "zero one two three four five six seven eight nine ten".split()


def entry(name, questions, answers, **rest):
    """An entry whose questions and answers are grammar forms."""
    forms = [f for q in questions for f in all_forms(q)]
    return Entry(name, "facts", questions=forms, answers=[f for a in answers for f in all_forms(a)], **rest)


def article(gpu):
    """'an A100', 'a T4'."""
    return ("an " if gpu[0] in "AHLR" else "a ") + gpu


def gpu_entries():
    """What the table knows about each card."""
    for gpu, (memory, cc, cuda, bf16, fp8) in GPUS.items():
        an = article(gpu)
        names = "{the |%s |}%s" % (an.split()[0], gpu)
        yield entry("memory " + gpu, [f"how much {{memory|vram|gpu memory}} does {names} have", f"how big is {names}",
                                      f"{names} {{memory|vram}}", f"how many gigabytes does {names} have"],
                    [f"The {gpu} has {memory} GB of memory."])
        yield entry("cc " + gpu, [f"what {{is the|}} compute capability {{of|does}} {names}{{ have|}}",
                                  f"which {{sm|architecture|compute capability}} {{is|has}} {names}",
                                  f"{names} compute capability"],
                    [f"The {gpu} has compute capability {cc}."])
        yield entry("cuda " + gpu, [f"which cuda {{version |}}does {names} need", f"what cuda do i need for {names}"],
                    [f"The {gpu} needs at least CUDA {cuda}, because its compute capability is {cc}."])
        for kind, has, need in (("bf16", bf16, "8.0"), ("fp8", fp8, "8.9")):
            verdict = "Yes" if has else "No"
            yield entry(kind + gpu, [f"{{does|can}} {names} {{support|have|do|run|use}} {kind}",
                                     f"is {kind} possible on {names}", f"{kind} on {names}"],
                        [f"{verdict}, the {gpu} has compute capability {cc}, and {kind} needs {need}."])
        yield entry("about " + gpu, [f"what is {names}", f"tell me about {names}", f"what do you know about {names}",
                                     f"explain {names}", names, f"is {names} {{good|a good gpu}}"],
                    [f"The {gpu} is an NVIDIA GPU with {memory} GB of memory and compute capability {cc}. "
                     f"It {'has' if bf16 else 'does not have'} bf16 and {'has' if fp8 else 'does not have'} fp8."])


def cuda_entries():
    """Which driver a CUDA version needs."""
    for cuda, (shipped, floor) in CUDAS.items():
        yield entry("driver " + cuda, [f"{{which|what}} driver {{does|do i need for|for}} cuda {cuda}{{ need|}}",
                                       f"what is the {{minimum|oldest}} driver for cuda {cuda}", f"cuda {cuda} driver",
                                       f"what is cuda {cuda}", f"tell me about cuda {cuda}"],
                    [f"Programs for CUDA {cuda} need driver {floor} or newer. "
                     f"The toolkit itself comes with driver {shipped}."])


def number(value):
    """A number without a needless fraction."""
    return f"{value:g}"


def memory_entries():
    """How much memory a model takes, and whether it fits on a card."""
    for size in SIZES:
        gigabytes = {bits: number(float(size) * bits / 8) for bits in (16, 8, 4)}
        model = "{a |an |the |}%s{b|B| billion|b parameter| billion parameter} model" % size
        for bits, name in ((16, "{bf16|fp16|16 bits}"), (8, "{8 bits|fp8|int8|8-bit}"), (4, "{4 bits|int4|4-bit}")):
            plain = {16: "16 bits", 8: "8 bits", 4: "4 bits"}[bits]
            yield entry(f"need {size} {bits}", [f"how {{much memory does|big is|large is}} {model}{{ need|}} in {name}"],
                        [f"In {plain} the weights of a {size}B model take {gigabytes[bits]} GB. "
                         "The KV cache and the workspace come on top."])
        yield entry(f"need {size}", [f"how much {{memory|vram|gpu memory}} {{does {model} need|do i need for {model}}}",
                                     f"how {{big|large}} is {model}", f"what do i need for {model}"],
                    [f"The weights of a {size}B model take {gigabytes[16]} GB in bf16, {gigabytes[8]} GB in 8 bits and "
                     f"{gigabytes[4]} GB in 4 bits. The KV cache and about 2 GB of workspace come on top."])
        for gpu, row in GPUS.items():
            yield fit_entry(size, model, gpu, int(row[0].split()[-1]))


def fit_entry(size, model, gpu, memory):
    """Whether a model of size billion weights fits on one card in bf16, else in 8 or 4 bits."""
    weights = float(size) * 2
    have = f"the {gpu} has " + ("up to " if " or " in GPUS[gpu][0] else "") + f"{memory} GB"
    answer = f"No, not even in 4 bits: that would be {number(weights / 4)} GB, and {have}."
    for bits, share in ((4, 4), (8, 2), (16, 1)):
        if weights / share + 2 < memory:
            answer = (f"Not in bf16, which takes {number(weights)} GB, because {have}. "
                      f"In {bits} bits it fits: the weights then take {number(weights / share)} GB.")
    if weights + 2 < memory:
        answer = f"Yes, in bf16 the weights take {number(weights)} GB, and {have}. What is left goes to the KV cache."
    name = "{a |an |the |one |}" + gpu
    return entry(f"fit {size} {gpu}", [f"{{does|will|can}} {model} fit {{on|in|into}} {name}", f"can i {{run|serve|use}} {model} on {name}",
                                       f"is {name} {{enough|large enough|big enough}} for {model}"], [answer])


def sum_entries():
    """Sums of single digits."""
    for a in range(10):
        for b in range(10):
            for words, sign, value in (("plus", "+", a + b), ("minus", "-", a - b), ("times", "*", a * b)):
                if value < 0:
                    continue
                pair = f"{{{a} {words} {b}|{a} {sign} {b}|{a}{sign}{b}|{NUMBERS[a]} {words} {NUMBERS[b]}}}"
                yield entry(f"{a}{sign}{b}", [f"{{what is |how much is |what's |compute |can you tell me what is |}}{pair}"],
                            [f"{a} {words} {b} is {value}."])


def count_entries():
    """Counting, and what comes before and after."""
    for n in range(2, 11):
        spelled = ", ".join(str(i) for i in range(1, n)) + f" and {n}."
        yield entry(f"count {n}", [f"{{please |can you |}}count {{from 1 |from one |}}to {{{n}|{NUMBERS[n]}}}"], [spelled])
    yield entry("count down", ["count {down|backwards}{ from 10| from ten|}", "can you count backwards"],
                ["10, 9, 8, 7, 6, 5, 4, 3, 2 and 1."])
    yield entry("count", ["can you count", "count", "count for me"], ["Yes: 1, 2, 3, 4, 5, 6, 7, 8, 9 and 10."])
    for kind, ring in (("day", DAYS), ("month", MONTHS)):
        for i, item in enumerate(ring):
            after, before = ring[(i + 1) % len(ring)], ring[i - 1]
            yield entry(f"after {item}", [f"{{what|which {kind}}} {{comes|is}} after {item}", f"{{what|which}} {kind} follows {item}"],
                        [f"After {item} comes {after}."])
            yield entry(f"before {item}", [f"{{what|which {kind}}} {{comes|is}} before {item}"],
                        [f"Before {item} comes {before}."])
    yield entry("days", ["{what are|name|list|tell me} the days of the week", "how many days {are in|has} a week"],
                ["The seven days of the week are " + ", ".join(DAYS[:-1]) + " and Sunday."])
    yield entry("months", ["{what are|name|list|tell me} the months{ of the year|}", "how many months {are in|has} a year"],
                ["The twelve months are " + ", ".join(MONTHS[:-1]) + " and December."])
    yield entry("alphabet", ["{say|what is|tell me|recite} the {alphabet|abc}"], ["a b c d e f g h i j k l m n o p q r s t u v w x y z"])
    pairs = {**OPPOSITES, **{v: k for k, v in OPPOSITES.items()}}
    for word, other in pairs.items():
        yield entry(f"opposite {word}", [f"what is the opposite of {word}", f"{word} is the opposite of what", f"opposite of {word}"],
                    [f"The opposite of {word} is {other}."])


def table_groups():
    """The generated entries by group, so that each group can have its own weight."""
    return {"gpu": list(gpu_entries()), "cuda": list(cuda_entries()), "memory": list(memory_entries()),
            "sums": list(sum_entries()), "count": list(count_entries())}
