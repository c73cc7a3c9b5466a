#!/usr/bin/env python3
"""Render templates with Python's jinja2 (3.1.6) and write what it makes to goldens.json.

The environment is set up as transformers' documentation describes it for chat templates: the immutable sandbox,
trim_blocks, lstrip_blocks, loop controls, json.dumps without ASCII escapes as tojson, raise_exception, strftime_now,
and a {% generation %} block that marks what the assistant wrote (its text is simply kept). Usage:

    python3 make_goldens.py > goldens.json
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2025, 7, 4, 5, 6, 7)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_keep"), [], [], body).set_lineno(line)

    def _keep(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: NOW.strftime(format)
    return env


def render(env, source, variables):
    """The text, or None where jinja2 refuses."""
    try:
        return env.from_string(source).render(**json.loads(json.dumps(variables)))
    except Exception:  # any refusal is a refusal
        return None


def main():
    env = environment()
    conversations = json.loads((HERE / "conversations.json").read_text())
    out = {"renders": [], "snippets": []}
    for path in sorted((HERE / "templates").glob("*.jinja")):
        for name, variables in conversations.items():
            text = render(env, path.read_text(), variables)
            out["renders"].append({"template": path.name, "conversation": name, "text": text})
    snippets = json.loads((HERE / "snippets.json").read_text())
    for source in snippets["templates"]:
        out["snippets"].append({"source": source, "text": render(env, source, snippets["vars"])})
    json.dump(out, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
