"""Writes vectors.json: what Python's packaging library says of versions, specifiers, requirements and markers.

    pip install packaging && python3 vectors.py > vectors.json

Hand-picked texts come first, among them every form that the wheels of an inference server carry; a seeded generator adds
the rest. Nothing here knows what the Go code answers.
"""

import itertools
import json
import random
import sys

import packaging
from packaging.markers import InvalidMarker, Marker, UndefinedComparison
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

RNG = random.Random(440)

VERSIONS = """1 1.0 1.0.0 1.0.1 0.4.9.post6 0.2.7.post1 0.0.0.dev1+g12ab 1!2.0 0!1.0 2.4.0+cu121 2.4.0+cu118 2.4.0+cpu 2.4.0
0.5.3rc0 0.5.3 0.5.9 0.5.19 0.5.19.post1 0.5.20 2.7.1+cu126 2.9.0.dev20250910+cu130 2.9.0a0+git1234 2.4.0a0+f70bd71a48.nv24.06
1.0a 1.0a1 1.0alpha1 1.0-alpha.1 1.0_beta_2 1.0b2 1.0c3 1.0rc3 1.0pre3 1.0.preview-3 1.0-1 1.0.post1 1.0-r4 1.0rev5 1.0post
1.0.dev 1.0dev3 1.0a1.dev2 1.0a1.post2 1.0a1.post2.dev3 1.0.post2.dev3 1.0rc1-1 v1.0 V2 1.0+abc.5 1.0+abc.10 1.0+5 1.0+5.abc
1.0+ABC-Def_1 1.0+0005 01.002.0003 2024.08.010 1.0.0.0.0 1.0.0.0.1 10.2.3.4.5.6 1.0a- 1.0a-1 1.0.post-1 1.0..1 1.0+ 1.0+a..b
1.0-a-b a1 1.0.x 1.0*  1.0.* !1 1!!2 1.0-post-1-dev-1 1.0--1 1.0a1b1 1.0post1a1 1.0dev1a1 550.54.15 12.8 12.9.1 3.10 3.9 3.13.0rc2
3.10.12 3.14 1.26.4 2.0.0 1.999999999 1.1_1 1.0+cu12.8 1.0.DEV1 1.0RC1""".split() + ["", " 1.0 ", "1.0 a1", "1 .0"]

SPECS = [">=1.0", ">1.0", "<1.0", "<=1.0", "==1.0", "!=1.0", "~=1.0", "~=1.0.1", "==1.*", "==1.0.*", "!=1.0.*", "===1.0", "===1.0.0",
         "==2.4.0", "==2.4.0+cu121", "!=2.4.0+cu121", ">=2.4.0", "<2.5", ">2.4.0", ">=0.5.0", "<0.5.20", "<=0.5.19", ">0.5.19",
         "==0.2.7.post1", ">=0.2.7", "~=0.2.7", ">=1.0a1", "<1.0a1", ">1.0a1", "<1.0rc1", ">1.0.post1", "<1.0.post1", ">=1.0.dev1", ">1.0.dev1", ">1.0.dev0",
         "<1.0.dev1", "~=1.0a1", "~=1.0.post1", "~=1!2.0", ">=1!1", "<1!0", "==1!2.*", ">=3.10,<3.15", "<4,>=3.9,!=3.13.*", "", " >= 1.0 , < 2 ",
         "==1.0a1.*", "~=1", ">=1.*", ">=1.0+cu1", "=1.0", "1.0", "==", "==1.0.dev1.*", "===anything goes", "===anything", ">=1.0,", ",>=1.0", ">=1.0;<2",
         "==1.0+abc.*", "~=2.4.0+cu121", "==v1.0", "==1.0-1", ">=2.0,<3.0,!=2.1.0", "<2.0.0a0", "<=2.4.0+cpu", ">2", "<2", "==01.002.*"]

REQUIREMENTS = ["torch==2.7.1", "flashinfer_python==0.2.7.post1; extra == \"srt\"", "sgl-kernel==0.2.5 ; extra == 'srt'", "numpy (>=1.21)",
                "Numpy>=1.26,<2.0", "a.b_c--d", "sglang[srt,Openai]>=0.4", "pkg @ https://example.org/a.whl",
                "pkg @ https://example.org/a.whl ; python_version < '3.9'", "nvidia-cublas-cu12==12.6.4.1; platform_system == \"Linux\" and platform_machine == \"x86_64\"",
                "triton==3.3.1 ; platform_system == 'Linux' and python_version >= '3.10'", "x>=1,<2 ; (python_version < '3' or extra=='z') and os_name != 'nt'",
                "", "-bad", "bad-", "a b", "a >", "a [x] >= 1", "a[x", "a; ", "a;python_version", "a; python_version > '3' and", "xgrammar==0.1.19",
                "tomli>=1; python_full_version <= \"3.11.0a6\"", "torch>=2.0.*", "setuptools!=60,!=61", "a==1.0;extra=='b.c'"]

MARKERS = ["python_version >= '3.10'", "python_version < '3.10'", "python_version == '3.1'", "python_version == '3.*'", "'3.9' < python_version",
           "python_version ~= '3.8'", "python_full_version < '3.12.4'", "python_version in '3.11 3.12'", "python_version not in '2.7 3.0'",
           "sys_platform == 'linux'", "sys_platform != 'win32'", "platform_machine == 'aarch64'", "platform_system == 'Linux' and extra == 'all'",
           "extra == 'All'", "extra == 'a_b'", "extra == 'a-b' or extra == 'all'", "os_name == 'posix' or python_version < '3' and extra == 'x'",
           "(os_name == 'nt' or os_name == 'posix') and python_version > '3'", "implementation_name == 'cpython'", "platform_python_implementation != 'PyPy'",
           "os.name == 'posix'", "python_implementation == 'CPython'", "'linux' in sys_platform", "'win' in sys_platform", "python_version > '3.10.0'",
           "nonsense == '1'", "python_version", "python_version >=", "(python_version > '3'", "extra == 'a' and and extra == 'b'",
           "sys_platform == \"linux\"", "implementation_version >= '3.12'", "python_full_version == '3.12.*'", "platform_release >= '5'", "sys_platform >= 'linux'",
           "sys_platform > 'a'", "sys_platform < 'z'", "sys_platform <= 'z'", "platform_release >= 'six'"]

ENVS = [
    {"python_version": "3.12", "python_full_version": "3.12.3", "implementation_version": "3.12.3", "os_name": "posix", "sys_platform": "linux",
     "platform_machine": "x86_64", "platform_system": "Linux", "platform_python_implementation": "CPython", "implementation_name": "cpython",
     "platform_release": "5.15.0", "platform_version": "#1 SMP", "extra": ""},
    {"python_version": "3.9", "python_full_version": "3.9.18", "implementation_version": "3.9.18", "os_name": "posix", "sys_platform": "linux",
     "platform_machine": "aarch64", "platform_system": "Linux", "platform_python_implementation": "CPython", "implementation_name": "cpython",
     "platform_release": "5.15.0", "platform_version": "#1 SMP", "extra": "all"},
    {"python_version": "3.14", "python_full_version": "3.14.0", "implementation_version": "3.14.0", "os_name": "posix", "sys_platform": "linux",
     "platform_machine": "x86_64", "platform_system": "Linux", "platform_python_implementation": "CPython", "implementation_name": "cpython",
     "platform_release": "6.1.0", "platform_version": "#1 SMP", "extra": "a-b"},
]


def random_version():
    s = RNG.choice(["", "", "", "1!", "v"]) + ".".join(str(RNG.choice([0, 0, 1, 2, 9, 10, 12])) for _ in range(RNG.randint(1, 4)))
    s += RNG.choice(["", "", RNG.choice(["", ".", "-", "_"]) + RNG.choice(["a", "b", "rc", "c", "alpha", "beta", "pre", "preview"]) + RNG.choice(["", "0", "1", "-2"])])
    s += RNG.choice(["", "", "", ".post1", "-1", ".r2", "post"])
    s += RNG.choice(["", "", "", ".dev0", "dev2", "-dev"])
    return s + RNG.choice(["", "", "", "+cu121", "+cu118", "+1", "+1.a", "+a.1"])


def parsed(make, text, wrong):
    try:
        return make(text)
    except wrong:
        return None


def versions():
    texts = list(dict.fromkeys(VERSIONS + [random_version() for _ in range(120)]))
    good = [(t, Version(t)) for t in texts if parsed(Version, t, InvalidVersion) is not None]
    order = sorted({v for _, v in good})
    rank = {v: i for i, v in enumerate(order)}
    rows = [{"text": t, "normal": str(v), "public": v.public, "base": v.base_version, "local": v.local or "", "pre": v.is_prerelease,
             "release": list(v.release), "rank": rank[v]} for t, v in good]
    return rows, [t for t in texts if parsed(Version, t, InvalidVersion) is None], [t for t, _ in good]


def specifiers(good):
    texts = list(SPECS)
    for op, v in itertools.product([">=", ">", "<", "<=", "==", "!=", "~="], [random_version() for _ in range(8)]):
        texts.append(op + (v if op in ("==", "!=") else v.split("+")[0]))
    rows, bad = [], []
    for t in dict.fromkeys(texts):
        s = parsed(SpecifierSet, t, InvalidSpecifier)
        if s is None:
            bad.append(t)
            continue
        rows.append({"text": t, "holds": "".join("1" if s.contains(v, prereleases=True) else "0" for v in good)})
    return rows, bad


def requirements():
    rows, bad = [], []
    for t in REQUIREMENTS:
        r = parsed(Requirement, t, InvalidRequirement)
        if r is None:
            bad.append(t)
            continue
        rows.append({"text": t, "name": canonicalize_name(r.name), "extras": sorted(canonicalize_name(e) for e in r.extras),
                     "url": r.url or "", "two": r.specifier.contains("2.0", prereleases=True),
                     "applies": [r.marker is None or r.marker.evaluate(e) for e in ENVS]})
    return rows, bad


def markers():
    rows, bad = [], []
    for t in MARKERS:
        m = parsed(Marker, t, InvalidMarker)
        if m is None:
            bad.append(t)
            continue
        try:
            rows.append({"text": t, "holds": [m.evaluate(e) for e in ENVS]})
        except UndefinedComparison:
            sys.exit(f"undefined: {t}")
    return rows, bad


def main():
    rows, bad, good = versions()
    out = {"packaging": packaging.__version__, "environments": ENVS, "versions": rows, "not_versions": bad}
    out["specifiers"], out["not_specifiers"] = specifiers(good)
    out["requirements"], out["not_requirements"] = requirements()
    out["markers"], out["not_markers"] = markers()
    json.dump(out, sys.stdout, indent=None, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
