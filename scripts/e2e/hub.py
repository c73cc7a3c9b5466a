"""Shows that the test hub is a hub, and that radish and the official client read each other's cache.

Run by hub.sh with the pinned huggingface_hub: hub.py RADISH LOG, where LOG is what the test hub prints of its requests.
Every step that fails says what it saw and ends the run.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache
from huggingface_hub import get_cached_repo_tree
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    IncompleteSnapshotError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

RADISH, LOG = sys.argv[1], Path(sys.argv[2])
ENDPOINT, TOKEN = os.environ["HF_ENDPOINT"], os.environ["HUB_TOKEN"]
WORK = Path(tempfile.mkdtemp(prefix="radish-hub-e2e-"))
# What radish pulls by default; the official client is asked for the same.
ALLOW = ["*.json", "*.safetensors", "*.jinja", "*.model"]
IGNORE = ["original/*", "consolidated*.safetensors"]
steps = 0


def check(what, truth, seen=""):
    global steps
    steps += 1
    if not truth:
        sys.exit(f"hub e2e: {what}: {seen}")


def raises(kind, what, call):
    try:
        call()
    except kind as e:
        check(what, type(e) is kind or kind is HfHubHTTPError, type(e))
        return e
    except Exception as e:  # noqa: BLE001
        sys.exit(f"hub e2e: {what}: {type(e).__name__} instead of {kind.__name__}: {e}")
    sys.exit(f"hub e2e: {what}: no error")


def requests(since=0):
    """What the hub was asked since a line of its log; it writes every 20 ms."""
    time.sleep(0.3)
    return [line for line in LOG.read_text().splitlines()[since:] if "=" not in line.split(" ")[0]]


def mark():
    time.sleep(0.3)
    return len(LOG.read_text().splitlines())


def radish(*args, cache, code=0, **env):
    full = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_TOKEN": "", **env}
    p = subprocess.run([RADISH, *args], env=full, capture_output=True, text=True)
    check(f"radish {' '.join(args)} exits with {code}", p.returncode == code, f"{p.returncode}: {p.stderr}")
    return p.stdout.strip()


def tree(root):
    """Every file of a cache by path: a link's target, or a file's bytes. Locks and tags are each client's own."""
    seen = {}
    for p in sorted(root.rglob("*")):
        name = p.relative_to(root).as_posix()
        if p.is_symlink():
            seen[name] = os.readlink(p)
        elif p.is_file() and not name.startswith(".locks/") and name != "CACHEDIR.TAG":
            seen[name] = p.read_bytes()
    return seen


def the_hub_is_one():
    api = HfApi(endpoint=ENDPOINT, token=False)
    info = api.model_info("org/model")
    check("model_info gives a commit", len(info.sha) == 40, info.sha)
    listed = {f.path: f for f in api.list_repo_tree("org/model", recursive=True) if hasattr(f, "size")}
    check("the tree has all files over several pages", len(listed) == 15, sorted(listed))
    lfs = listed["tokenizer.json"].lfs
    check("LFS entries carry sha256 and size", len(lfs["sha256"]) == 64 and lfs["size"] == 300 << 10, lfs)
    paths = api.get_paths_info("org/model", ["config.json", "absent"])
    check("paths_info gives what is there", [p.path for p in paths] == ["config.json"], paths)
    refs = api.list_repo_refs("org/model")
    check("refs are listed", {"main", "v1"} <= {b.name for b in refs.branches}, refs)
    check("a token is known", HfApi(endpoint=ENDPOINT, token=TOKEN).whoami()["name"] == "tester")
    for name, repo, token, kind, kw in [
        ("no such repository", "org/none", False, RepositoryNotFoundError, {}),
        ("private, anonymous", "org/private", False, RepositoryNotFoundError, {}),
        ("gated, anonymous", "org/gated", False, GatedRepoError, {}),
        ("gated", "org/gated", TOKEN, GatedRepoError, {}),
        ("bad token", "org/model", "hf_wrong", HfHubHTTPError, {}),
        ("no such revision", "org/model", False, RevisionNotFoundError, {"revision": "nowhere"}),
    ]:
        raises(kind, name, lambda: hf_hub_download(repo, "config.json", token=token, cache_dir=WORK / "errors", **kw))
    raises(DisabledRepoError, "disabled", lambda: api.model_info("org/disabled"))
    raises(RemoteEntryNotFoundError, "no such file", lambda: hf_hub_download("org/model", "absent", token=False, cache_dir=WORK / "errors"))
    hf_hub_download("org/private", "config.json", token=TOKEN, cache_dir=WORK / "errors")
    path = hf_hub_download("org/old", "config.json", token=False, cache_dir=WORK / "errors")
    check("a renamed repository redirects", Path(path).read_text() == '{"model_type": "llama"}')


def python_then_radish():
    cache = WORK / "python"
    wrote = snapshot_download("org/model", cache_dir=cache, token=False, allow_patterns=ALLOW, ignore_patterns=IGNORE)
    at = mark()
    found = radish("pull", "org/model", cache=cache, HF_HUB_OFFLINE="1")
    check("radish finds Python's snapshot", os.path.samefile(found, wrote), f"{found} {wrote}")
    check("without a request", requests(at) == [], requests(at))
    radish("models", "verify", cache=cache)
    at = mark()
    radish("pull", "org/model", cache=cache)
    check("online it asks for the revision alone", [r.split()[0] for r in requests(at)] == ["api"], requests(at))
    # A cache of an older client has no listing: what is there is taken for what there is.
    shutil.rmtree(cache / "models--org--model" / "trees")
    radish("pull", "org/model", cache=cache, HF_HUB_OFFLINE="1")
    check("and no listing is made up", not (cache / "models--org--model" / "trees").exists())
    return cache


def radish_then_python(python_cache):
    cache = WORK / "radish"
    wrote = radish("pull", "org/model", cache=cache)
    at = mark()
    got = snapshot_download("org/model", cache_dir=cache, local_files_only=True, allow_patterns=ALLOW, ignore_patterns=IGNORE)
    check("Python finds radish's snapshot", os.path.samefile(got, wrote), f"{got} {wrote}")
    raises(IncompleteSnapshotError, "Python sees that README.md was left out",
           lambda: snapshot_download("org/model", cache_dir=cache, local_files_only=True))
    check("a file is found", os.path.samefile(try_to_load_from_cache("org/model", "tokenizer.json", cache_dir=cache), f"{wrote}/tokenizer.json"))
    check("the listing is read", len(get_cached_repo_tree("org/model", cache_dir=cache)) == 15)
    check("all that without a request", requests(at) == [], requests(at))
    snapshot_download("org/model", cache_dir=cache, token=False, allow_patterns=ALLOW, ignore_patterns=IGNORE)
    check("online nothing is fetched again", not [r for r in requests(at) if r.startswith(("resolve", "link", "tree"))], requests(at))
    offline = subprocess.run(
        [sys.executable, "-c", "from huggingface_hub import hf_hub_download as d; print(d('org/model', 'config.json'))"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}, capture_output=True, text=True)
    check("HF_HUB_OFFLINE=1 finds a file", offline.returncode == 0 and offline.stdout.strip().startswith(str(cache)), offline)
    scan = scan_cache_dir(cache)
    check("Python's scan has no complaint", not scan.warnings and not scan.incomplete_files, scan)
    check("and sees one model", [r.repo_id for r in scan.repos] == ["org/model"], scan)
    # The two caches, byte for byte; the listing was taken out of Python's above.
    ours = {k: v for k, v in tree(cache).items() if "/trees/" not in k}
    theirs = tree(python_cache)
    check("both wrote the same cache", ours == theirs, sorted(set(ours.items()) ^ set(theirs.items()))[:4])
    verified = HfApi(endpoint=ENDPOINT, token=False).verify_repo_checksums("org/model", cache_dir=cache)
    check("hf's own verification agrees", not verified.mismatches, verified)
    # All of it: then a plain offline snapshot_download is content as well.
    radish("pull", "--include", "*", "org/model", cache=cache)
    snapshot_download("org/model", cache_dir=cache, local_files_only=True)
    listing = next((cache / "models--org--model" / "trees").iterdir())
    again = WORK / "again"
    snapshot_download("org/model", cache_dir=again, token=False)
    theirs = next((again / "models--org--model" / "trees").iterdir())
    check("both keep the same listing", json.loads(listing.read_text()) == json.loads(theirs.read_text()), listing.read_text()[:300])


def both_at_once():
    """The official client waits for a lock that radish holds, and then has nothing to fetch."""
    cache = WORK / "both"
    ours = subprocess.Popen([RADISH, "pull", "org/model"], env={**os.environ, "HF_HUB_CACHE": str(cache), "HF_TOKEN": ""},
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    snapshot_download("org/model", cache_dir=cache, token=False, allow_patterns=ALLOW, ignore_patterns=IGNORE)
    _, err = ours.communicate(timeout=60)
    check("radish beside Python ends well", ours.returncode == 0, err)
    radish("models", "verify", cache=cache)


def main():
    check("the client asks the test hub", constants.ENDPOINT == ENDPOINT)
    try:
        the_hub_is_one()
        radish_then_python(python_then_radish())
        both_at_once()
    finally:
        shutil.rmtree(WORK)
    print(f"hub e2e: {steps} checks passed with huggingface_hub {__import__('huggingface_hub').__version__}")


main()
