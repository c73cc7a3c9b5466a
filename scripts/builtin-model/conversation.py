"""Makes conversations: picks questions, roughens them as people do, and strings turns together."""
import re

from facts import table_groups
from grammar import Elsewhere, all_entries, held_out

SYSTEMS = ["You are a helpful assistant.", "You are the small model inside radish.", "You are radish, a friendly assistant.",
           "You answer questions about radish and GPU pods.", "Be polite and clear.", "You are a helpful, honest assistant.",
           "Answer the user's questions.", "You are an assistant for people who run models on GPU pods.",
           "Say so when you do not know something.", "You are a chat assistant. Be friendly.", "Help the user with the pod.",
           "You are an expert in model serving."]
BRIEF_SYSTEMS = ["Answer in one sentence.", "Be brief.", "You are a helpful assistant. Answer in one sentence.",
                 "Keep your answers short.", "You are radish. Be very brief."]
BRIEF_ENDS = [" in one sentence", " in short", ", briefly", ". be brief", ", in a few words", ". answer in one sentence"]
OPENERS = ["hi, ", "hello, ", "hey, ", "ok, ", "so, ", "please, ", "hi! ", "hello! ", "quick question: ", "one question: ",
           "sorry, ", "well, ", "hey radish, ", "and ", "now ", "tell me, "]
ENDERS = [" please", ", please", " thanks", ", thanks", " pls", " for me", " now", " here", ", do you know", " in radish"]
MORE = ["tell me more", "more", "go on", "can you say more", "tell me more about it", "what else", "more please", "and then",
        "can you tell me more", "is there more", "please continue", "continue", "more details please", "anything else",
        "tell me more about that", "what else can you say about it", "explain more", "give me more details"]
WHY = ["why", "why is that", "why so", "what is the reason", "why does that matter", "what is that good for", "but why",
       "how come", "why is it so", "why do we need that", "what is the point of that", "can you tell me why"]
AGAIN = ["repeat that", "say that again", "can you repeat that", "what did you say", "once more please", "please repeat your answer"]
SHORTER = ["shorter please", "make it shorter", "in one sentence please", "say it in one sentence", "can you say that shorter",
           "too long", "shorter"]
FIRST = ["what did i ask first", "what was my first question", "what did i say first", "do you remember my first question"]
LAST = ["what did i just ask", "what was my last question", "what did i ask before", "what was my question"]
NAMES = ["Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo", "Ida", "Jonas", "Kate", "Leo", "Mia", "Nora", "Oscar",
         "Paul", "Rosa", "Sam", "Tom", "Vera", "Will", "Zoe", "Max", "Lena", "Peter", "Maria", "John", "Lucy", "Omar", "Yuki",
         "Chen", "Priya", "Ali", "Sara", "Ivan", "Elena", "Mark", "Julia", "Alex", "Nina", "Robert", "Alice", "Bob", "Eve"]
TELL_NAME = ["my name is {n}", "i am {n}", "i'm {n}", "call me {n}", "hello, my name is {n}", "hi, i am {n}", "hey, {n} here"]
ASK_NAME = ["what is my name", "do you know my name", "what's my name", "do you remember my name", "who am i, do you remember"]
NO_MORE = ["That is all I know about it.", "I have nothing more to say about that. Ask me about something else."]
NO_WHY = ["I cannot give you a good reason for that. I am a small model."]
WEIGHTS = {"radish.txt": 5, "serving.txt": 6, "gpu.txt": 3, "pod.txt": 5, "api.txt": 3, "talk.txt": 4, "words.txt": 1.5,
           "elsewhere": 5, "gpu": 1.6, "cuda": 0.4, "memory": 2.2, "sums": 1.0, "count": 0.8}


def first_sentence(text):
    """The first sentence of an answer, which always stands on its own."""
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def typo(word, rng):
    """One slip of the finger inside a word."""
    i = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return word[:i] + word[i + 1:]
    if kind == 1:
        return word[:i] + word[i] + word[i:]
    return word[:i] + word[i + 1] + word[i] + word[i + 2:]


def roughen(question, rng, plain=False):
    """The question as somebody might type it: case, punctuation, an opener, a slip."""
    if not plain:
        draw = rng.random()
        if draw < 0.16:
            question = rng.choice(OPENERS) + question
        elif draw < 0.24:
            question += rng.choice(ENDERS)
        if rng.random() < 0.12:
            words = question.split(" ")
            places = [i for i, w in enumerate(words) if len(w) > 4 and w.isalpha()]
            if places:
                i = rng.choice(places)
                words[i] = typo(words[i], rng)
                question = " ".join(words)
    style = rng.random()
    if style < 0.45:
        return question
    question = re.sub(r"\bi\b(?!['/])", "I", question)
    question = question[:1].upper() + question[1:] if question[:1].isalpha() else question
    if re.match(r"(.*, |.*[!:] )?(what|how|why|which|who|where|when|is|are|do|does|can|could|will|did|should|have|may|in which)\b",
                question, re.I):
        return question + ("?" if style < 0.95 else "")
    return question + rng.choice([".", "", "", "!"])


class World:
    """Everything that can be asked, grouped, each question on its side of the hold-out."""

    def __init__(self):
        self.groups = {}
        for e in all_entries():
            self.groups.setdefault(e.source, []).append(e)
        self.groups.update(table_groups())
        self.elsewhere = Elsewhere()
        self.names = list(WEIGHTS)
        self.weights = [WEIGHTS[n] for n in self.names]
        self.sides = {}
        for group in self.groups.values():
            for e in group:
                sides = ([q for q in e.questions if not held_out(e.name, q)], [q for q in e.questions if held_out(e.name, q)])
                self.sides[id(e)] = sides if sides[0] else (e.questions, [])

    def draw(self, rng, test=False, later=False):
        """A question, its answer, and the entry behind it (None for elsewhere)."""
        while True:
            group = rng.choices(self.names, self.weights)[0]
            if group == "elsewhere":
                return (*self.elsewhere.sample(rng, test), None)
            e = rng.choice(self.groups[group])
            pool = self.sides[id(e)][test]
            if later and e.also and rng.random() < 0.3:
                pool = e.also
            if pool:
                return rng.choice(pool), rng.choice(e.answers), e


class Talk:
    """One conversation in the making: the messages and what the next turn may refer to."""

    def __init__(self, world, rng, test=False):
        self.world, self.rng, self.test = world, rng, test
        self.messages, self.entry, self.left, self.name = [], None, [], None
        self.brief = False
        if rng.random() < 0.4:
            self.brief = rng.random() < 0.2
            self.messages.append(("system", rng.choice(BRIEF_SYSTEMS if self.brief else SYSTEMS)))

    def users(self):
        """What the user has said so far."""
        return [text for role, text in self.messages if role == "user"]

    def say(self, question, answer, plain=False):
        """Adds a turn."""
        if self.brief:
            answer = first_sentence(answer)
        self.messages += [("user", roughen(question, self.rng, plain)), ("assistant", answer)]

    def topic(self):
        """A new question."""
        question, answer, self.entry = self.world.draw(self.rng, self.test, later=bool(self.users()))
        self.left = list(self.entry.more) if self.entry else []
        if self.entry and not self.brief and self.rng.random() < 0.04:
            question, answer = question + self.rng.choice(BRIEF_ENDS), first_sentence(answer)
        self.say(question, answer)

    def follow(self):
        """A turn that makes sense only after the last one."""
        rng, draw = self.rng, self.rng.random()
        if draw < 0.4 and self.entry:
            self.say(rng.choice(MORE), self.left.pop(0) if self.left else rng.choice(NO_MORE))
        elif draw < 0.62 and self.entry:
            self.say(rng.choice(WHY), rng.choice(self.entry.why or NO_WHY))
        elif draw < 0.72:
            self.say(rng.choice(AGAIN), self.messages[-1][1], plain=True)
        elif draw < 0.82:
            self.say(rng.choice(SHORTER), first_sentence(self.messages[-1][1]), plain=True)
        elif draw < 0.9:
            self.say(rng.choice(FIRST), f'Your first question was: "{self.users()[0]}"', plain=True)
        else:
            self.say(rng.choice(LAST), f'You just asked: "{self.users()[-1]}"', plain=True)

    def naming(self):
        """The user gives a name or asks for it."""
        rng = self.rng
        if self.name is None and rng.random() < 0.7:
            self.name = rng.choice(NAMES)
            given = self.name.lower() if rng.random() < 0.2 else self.name
            self.say(rng.choice(TELL_NAME).format(n=given), f"Nice to meet you, {self.name}! What would you like to know?", plain=True)
        elif self.name is None:
            self.say(rng.choice(ASK_NAME), "You have not told me your name yet.", plain=True)
        else:
            self.say(rng.choice(ASK_NAME), f"Your name is {self.name}.", plain=True)
        self.entry = None


def make(world, rng, test=False):
    """A conversation: a list of (role, text)."""
    talk = Talk(world, rng, test)
    turns = 1 if rng.random() < 0.4 else rng.randint(2, 4) if rng.random() < 0.75 else rng.randint(5, 12)
    for turn in range(turns):
        draw = rng.random()
        if draw < (0.04 if talk.name is None else 0.15):
            talk.naming()
        elif draw < 0.42 and turn:
            talk.follow()
        else:
            talk.topic()
    return talk.messages


def test_questions(world, rng, count):
    """Single held-out questions with the answers that would be right."""
    rows = []
    while len(rows) < count:
        question, answer, e = world.draw(rng, test=True)
        right = e.answers if e else list(world.elsewhere.general) + [a for v in world.elsewhere.answers.values() for a in v]
        rows.append((roughen(question, rng), right, e.source if e else "elsewhere"))
    return rows
