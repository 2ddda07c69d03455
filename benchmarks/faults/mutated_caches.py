"""Files of the cache of tokens are altered: what is loaded then is the right text, made anew, or a refusal in a line.

Bytes flip, files are cut, zeroed, swapped, replaced by links, pipes and folders, JSON gets values of wrong types and
sizes; in a third of the tries the digests are then made to fit.
"""

import copy
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults.batches import judge, run_in_batches
from benchmarks.faults.outcome import Outcome
from nanokimi.config import DataConfig
from nanokimi.text.corpus import Corpus, TextError, load_corpus, windows
from nanokimi.text.tokenizer import TokenizerError

NAME = "a cache of tokens altered"
RELEASE, SAMPLE = 1000, 10
VALUES = (
    *(
        None,
        True,
        -1,
        0,
        1.5,
        1e308,
        10**30,
        10**400,
        "",
        "x",
        "../../secret",
        "\x1b[2J",
        "\ud800",
        "a" * 99_999,
    ),
    *(
        [],
        {},
        [1],
        [[]],
        {"a": 1},
        ["YQ=="] * 300,
        "uint32",
        "uint16",
        float("nan"),
        float("inf"),
        "bpe",
        "char",
    ),
)


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Alter `tries` caches, load each, and compare what comes."""
    return run_in_batches("mutated_caches", tries, seed, folder, on_progress)


def prepare(folder: Path) -> None:
    """Two caches, of stories by characters and of a file by BPE."""
    if not (folder / "done").exists():
        (folder / "text.txt").write_text("".join(f"The hen saw fox {i} at {i * i}. " for i in range(800)))
        for kind in ("stories", "file"):
            load_corpus(_config(folder, kind, folder / kind))
        (folder / "done").touch()


def try_one(folder: Path, draw: random.Random) -> str:
    """What was wrong with how the corpus came from an altered cache."""
    kind = draw.choice(("stories", "file"))
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)  # of a try that ended its process
    shutil.copytree(folder / kind, cache, symlinks=True)
    (tokens,) = (cache / "tokens").iterdir()
    done = []
    for _ in range(draw.choice((1, 1, 2))):
        path = draw.choice([*tokens.iterdir(), *(cache / "sources").glob("*")])
        if path.is_file() and not path.is_symlink():
            alter = draw.choice(_ALTERATIONS)
            done.append(f"{alter.__name__.strip('_')} {path.name}")
            alter(path, draw)
    fitted = draw.random() < 0.33 and _fit_digests(tokens)
    right = load_corpus(_config(folder, kind, folder / kind))

    def use() -> None:
        found = load_corpus(_config(folder, kind, cache), seq_len=16)
        if not fitted and _facts(found) != _facts(right):
            raise AssertionError("other text came, without a word")
        for split in (found.train, found.val):
            windows(split, 50, 16)
            found.token_bytes[split.tokens.astype("int64")]
            found.tokenizer.decode(split.tokens[:100].tolist(), errors="replace")

    try:
        fault = judge(use, (TextError, TokenizerError))
    finally:
        shutil.rmtree(cache)
    return fault and f"{fault} ({', '.join(done)}{', digests made to fit' if fitted else ''})"


def _config(folder: Path, kind: str, cache: Path) -> DataConfig:
    if kind == "stories":
        return DataConfig(n_stories=40, tokenizer="char", cache_dir=str(cache))
    return DataConfig(source=str(folder / "text.txt"), vocab_size=300, cache_dir=str(cache))


def _facts(found: Corpus) -> list[Any]:
    ranks = sorted(found.tokenizer._mergeable_ranks.items())
    arrays = (found.train.tokens, found.val.tokens, found.val.roles, found.val.bits)
    return [found.floor, ranks, *(None if array is None else array.tobytes() for array in arrays)]


def _fit_digests(tokens: Path) -> bool:
    """Write the sizes and digests that the files have now into meta.json."""
    try:
        if not (tokens / "meta.json").is_file():
            return False
        meta = json.loads((tokens / "meta.json").read_text())
        for name in meta["files"]:
            data = (tokens / name).read_bytes() if (tokens / name).is_file() else b""
            meta["files"][name] = [len(data), hashlib.sha256(data).hexdigest()]
        (tokens / "meta.json").write_text(json.dumps(meta))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return True


# ---------------------------------------------------------------- alterations of one file


def _flip(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 5, 100))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def _cut(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def _zero(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.choice((b"\0", b"\xff")) * path.stat().st_size)


def _swap(path: Path, draw: random.Random) -> None:
    other = draw.choice([each for each in path.parent.iterdir() if each.is_file()])
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def _replace(path: Path, draw: random.Random) -> None:
    path.unlink()
    what = draw.choice(("nothing", "folder", "pipe", "link", "loop", "/dev/zero", "deep", "large"))
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what != "nothing" and what not in ("deep", "large"):
        path.symlink_to({"link": "meta.json", "loop": path.name}.get(what, what))
    elif what != "nothing":
        path.write_text("[" * 50_000 if what == "deep" else "7" * 5000)


def _edit_json(path: Path, draw: random.Random) -> None:
    """One value of a JSON file becomes another one, or goes."""
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return _flip(path, draw)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(min(len(node), 50)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if not isinstance(content, dict):
        return _flip(path, draw)
    walk(content)
    node, key = draw.choice(places)
    if draw.random() < 0.2:
        del node[key]
    else:
        node[key] = copy.deepcopy(draw.choice(VALUES))
    path.write_text(_write_json(content))


def _write_json(content: Any) -> str:
    try:
        return json.dumps(content)
    except ValueError:  # more digits than Python writes
        return '{"layout": ' + "7" * 5000 + "}"


_ALTERATIONS = (_flip, _cut, _zero, _swap, _replace, _edit_json, _edit_json)
