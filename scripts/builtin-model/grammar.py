"""Reads the content files and expands their small grammar.

A content file is a list of entries. `{a|b}` picks one alternative, `{a|}` makes a word optional, and both may nest.
`all_forms` lists every expansion in a fixed order, so that a form can be named, hashed and held out.
"""
import hashlib
import itertools
import pathlib
import re
from dataclasses import dataclass, field

CONTENT = pathlib.Path(__file__).parent / "content"
INNERMOST = re.compile(r"\{([^{}]*)\}")

WHAT = ["what is {x}", "what's {x}", "what is {x}, exactly", "explain {x}", "please explain {x}", "can you explain {x}",
        "could you explain {x} to me", "tell me about {x}", "can you tell me about {x}", "what does {x} mean", "{x}",
        "what do you know about {x}", "do you know what {x} is", "could you tell me what {x} is", "define {x}",
        "i would like to know about {x}", "i want to understand {x}", "help me understand {x}", "what is meant by {x}",
        "i do not understand {x}", "describe {x}", "what exactly is {x}", "what is {x} in simple words",
        "what is {x} again", "i keep hearing about {x}, what is it", "give me a short explanation of {x}",
        "do you know {x}", "have you heard of {x}", "i have a question about {x}", "what is this {x} thing",
        "what is {x} good for", "what is {x} used for", "how would you describe {x}", "teach me about {x}"]
PLURAL = [t.replace("what is {x}", "what are {x}").replace("what's {x}", "what are {x}").replace("does {x}", "do {x}")
          .replace("exactly is {x}", "exactly are {x}").replace("{x} is", "{x} are").replace("what is it", "what are they")
          for t in WHAT if "thing" not in t]
HOW = ["how do i {x}", "how can i {x}", "how to {x}", "how does one {x}", "what is the way to {x}", "i want to {x}",
       "i need to {x}", "i would like to {x}", "show me how to {x}", "tell me how to {x}", "what do i do to {x}",
       "can you help me {x}", "can you tell me how to {x}", "what should i run to {x}", "which command do i use to {x}",
       "is there a way to {x}", "please help me to {x}", "how could i {x}", "what is the best way to {x}", "can i {x}",
       "i don't know how to {x}", "how do you {x}", "what command is there to {x}"]
ALSO = ["and {x}", "what about {x}", "how about {x}", "and what is {x}", "now explain {x}", "and what does {x} mean"]


@dataclass
class Entry:
    """One topic: its questions, its answers and what may follow."""
    name: str
    source: str
    what: list = field(default_factory=list)
    questions: list = field(default_factory=list)
    also: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    more: list = field(default_factory=list)
    why: list = field(default_factory=list)


def all_forms(text):
    """Every expansion of text, in order, without doubles."""
    match = INNERMOST.search(text)
    if not match:
        return [re.sub(r"\s+", " ", text).strip()]
    forms = []
    for choice in match.group(1).split("|"):
        forms += all_forms(text[:match.start()] + choice + text[match.end():])
    return list(dict.fromkeys(forms))


def held_out(name, question):
    """Whether this phrasing belongs to the test set: about one in twenty, by hash, the same in every run."""
    digest = hashlib.sha256(f"{name}\0{question}".encode()).digest()
    return digest[0] < 13


def phrases(field_text):
    """Splits 'a | *b {c|d}' at the bars outside braces and expands each; a star marks a plural."""
    parts = [p.strip() for p in re.split(r"\|(?![^{]*\})", field_text)]
    return [(form, part.startswith("*")) for part in parts for form in all_forms(part.lstrip("*"))]


def add_line(entry, key, text):
    """Adds one 'key: text' line of a content file to its entry."""
    if key == "what":
        for x, plural in phrases(text):
            entry.what.append(x)
            entry.questions += [t.format(x=x) for t in (PLURAL if plural else WHAT)]
            entry.also += [t.format(x=x) for t in ALSO[:3 if plural else 6]]
    elif key == "how":
        for x, _ in phrases(text):
            entry.questions += [t.format(x=x) for t in HOW]
    elif key == "q":
        entry.questions += all_forms(text)
    else:
        {"a": entry.answers, "more": entry.more, "why": entry.why}[key].extend(all_forms(text))


def read_entries(name):
    """The entries of one content file."""
    entries = []
    for number, line in enumerate((CONTENT / name).read_text().splitlines(), 1):
        if line.startswith("@ "):
            entries.append(Entry(line[2:].strip(), name))
        elif line and not line.startswith("#"):
            key, colon, text = line.partition(": ")
            if not colon or not entries:
                raise ValueError(f"{name}:{number}: expected 'key: text'")
            add_line(entries[-1], key, text)
    return entries


def read_words():
    """The one-line definitions of words.txt, as entries."""
    entries = []
    for line in (CONTENT / "words.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            phrase, _, text = line.partition(" = ")
            entry = Entry("word " + phrase, "words.txt")
            add_line(entry, "what", phrase)
            bare = re.sub(r"^(an?|the) ", "", phrase)
            if bare != phrase:
                entry.questions += [f"what does {bare} mean", f"define {bare}", bare, f"what does the word {bare} mean"]
            entry.answers.append(text)
            entries.append(entry)
    return entries


class Elsewhere:
    """The questions from outside: patterns with slots, too many to list, so they are sampled."""

    def __init__(self):
        self.slots, self.patterns, self.answers, self.general = {}, {}, {}, []
        name = ""
        for line in (CONTENT / "elsewhere.txt").read_text().splitlines():
            if line.startswith("slot "):
                key, _, values = line[5:].partition(" = ")
                self.slots[key] = [v.strip() for v in values.split("|")]
            elif line.startswith("@ "):
                name = line[2:].strip()
            elif line.startswith("q: "):
                self.patterns.setdefault(name, []).append(all_forms(line[3:]))
            elif line.startswith("& "):
                (self.general if name == "general" else self.answers.setdefault(name, [])).append(line[2:])

    def fill(self, match, rng):
        """A value for one slot."""
        key = match.group(1)
        if key == "gibberish":
            return nonsense(rng)
        if key == "bignum":
            return str(rng.randint(11, 99) if rng.random() < 0.6 else rng.randint(100, 9999))
        if key == "errnum":
            return str(rng.randint(900, 9999))
        return rng.choice(self.slots[key])

    def sample(self, rng, test=False):
        """A question from outside and an answer to it. Names are filled in, then held out by hash like the rest."""
        while True:
            name = rng.choice(list(self.patterns))
            pattern = rng.choice(rng.choice(self.patterns[name]))
            question = re.sub(r"<(\w+)>", lambda m: self.fill(m, rng), pattern)
            question = re.sub(r"\ba (?=[aeiou]\w)", "an ", question)
            if held_out(name, question) == test:
                own = name in ("bigsums", "prices", "health", "gibberish") or rng.random() < 0.8
                return question, rng.choice(self.answers[name] if own else self.general)


CONSONANTS, VOWELS = "b c d f g h k l m n p r s t v w z bl br cl dr fl gr pl pr st tr sh th".split(), list("aeiou")
ENDINGS = ["", "", "n", "r", "s", "t", "x", "ng", "ck", "sh", "ll", "sm", "tor", "ity", "ing", "ation", "le"]


def nonsense(rng):
    """A word that means nothing, pronounceable or a heap of letters."""
    if rng.random() < 0.25:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(4, 9)))
    body = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(2, 3)))
    return body + rng.choice(ENDINGS)


def all_entries():
    """Every hand-written entry."""
    files = ["radish.txt", "serving.txt", "gpu.txt", "pod.txt", "api.txt", "talk.txt"]
    return list(itertools.chain(*map(read_entries, files))) + read_words()
