"""Asks real interpreters what radish doctor read from their files: which version, which directories, which packages.

    python3 scripts/e2e/python.py bin/radish

For up to three versions of python3 on this machine it makes environments of several kinds in a temporary directory, puts small packages into
them, lets radish record its facts, and compares them with the answers of the interpreter itself. Nothing is downloaded.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ASK = """
import json, os, sys
from importlib import metadata
stdlib = {os.path.realpath(p) for p in (os.path.dirname(os.__file__), os.path.join(os.path.dirname(os.__file__), "lib-dynload"))}
path = [p for p in sys.path[1:] if os.path.isdir(p) and os.path.realpath(p) not in stdlib]
found = {}
for d in metadata.distributions(path=path):
    name = (d.metadata["Name"] or "").lower().replace("_", "-").replace(".", "-")
    found.setdefault(name, d.version)
print(json.dumps({"version": "%d.%d.%d" % sys.version_info[:3], "prefix": sys.prefix, "path": [os.path.realpath(p) for p in path], "found": found}))
"""


def interpreters():
    """The oldest, the middle and the newest working python3.8 or later of PATH and pyenv."""
    places = os.environ["PATH"].split(os.pathsep)
    home = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    files = [pathlib.Path(p) / "python3" for p in places if "shims" not in p] + sorted(home.glob("versions/3.*/bin/python3"))
    seen = {}
    for f in files:
        if not f.exists():
            continue
        out = subprocess.run([f, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3], int(sys.version_info >= (3, 8)))"], capture_output=True, text=True)
        if out.returncode == 0 and out.stdout.split()[1] == "1":
            seen.setdefault(out.stdout.split()[0], f)
    order = sorted(seen.items(), key=lambda item: [int(n) for n in item[0].split(".")])
    return dict([order[0], order[len(order) // 2], order[-1]]) if order else {}


def package(site, name, version):
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("")


def environments(python, top):
    """(name, interpreter, variables) of each kind."""
    minor = subprocess.run([python, "-c", "import sys; print('python%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True).stdout.strip()
    home, extra = top / "home", top / "extra"
    package(home / ".local/lib" / minor / "site-packages", "torch", "2.4.0")
    package(extra, "torch", "2.3.0")
    yield "no venv", python, {}
    for name, flags in {"closed": [], "open": ["--system-site-packages"]}.items():
        venv = top / name
        subprocess.run([python, "-m", "venv", "--without-pip", *flags, venv], check=True)
        site = venv / "lib" / minor / "site-packages"
        package(site, "sglang", "0.5.10.post1")
        package(site, "flashinfer_python", "0.6.7.post3")
        yield name, venv / "bin/python3", {}
        yield name + ", PYTHONPATH", venv / "bin/python3", {"PYTHONPATH": str(extra)}
        yield name + ", no user site", venv / "bin/python3", {"PYTHONNOUSERSITE": "1"}


def read(radish, python, env, top):
    """The facts as radish recorded them. Its verdict, which the exit code tells, is not the question here."""
    record = top / "record"
    subprocess.run([radish, "doctor", "--engine", "sglang", "--python", python, "--only", "py.engine", "--record", record], env=env, capture_output=True)
    facts = json.loads((record / "facts.json").read_text())
    p = find(facts, "Python")
    e = p["Environments"][p["Chosen"]]
    found = {}
    for d in p["Dists"]:
        found.setdefault(d["Name"], d["Version"])
    return {"version": e["Version"], "prefix": e["Prefix"], "path": [os.path.realpath(d) for d in e["Path"]], "found": found}


def find(tree, key):
    """The facts lie below the recording's own fields."""
    if key in tree:
        return tree[key]
    return next(find(v, key) for v in tree.values() if isinstance(v, dict) and key in v)


def main():
    radish = os.path.abspath(sys.argv[1])
    passed = failed = 0
    for version, python in interpreters().items():
        with tempfile.TemporaryDirectory() as tmp:
            top = pathlib.Path(tmp).resolve()
            for name, interpreter, variables in environments(python, top):
                env = {"PATH": os.environ["PATH"], "HOME": str(top / "home"), **variables}
                told = json.loads(subprocess.run([interpreter, "-c", ASK], env=env, capture_output=True, text=True, check=True).stdout)
                got = read(radish, interpreter, env, top)
                for key, want in told.items():
                    if got[key] == want:
                        passed += 1
                        continue
                    failed += 1
                    print(f"Python {version}, {name}: {key}\n  radish {got[key]}\n  Python {want}", file=sys.stderr)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
