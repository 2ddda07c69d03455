"""What learners, front ends and mischief do to a notebook, and what each exercise must count as afterwards.

The notebook is 02 up to `split_heads`, all its exercises answered right.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from textwrap import indent

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "02_attention.ipynb"
RIGHT = {
    "causal_mask": """def causal_mask(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)""",
    "attend": """def attend(q, k, v, scale, visible=None):
    mask = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale).masked_fill(~mask, -torch.inf).softmax(-1) @ v""",
    "test_sound_attend": """def test_sound_attend(attend):
    v = torch.tensor([[0.0], [3.0], [6.0]])[None, None]
    same = torch.zeros(1, 1, 3, 2)
    assert torch.allclose(attend(same, same, v, 1.0)[0, 0, :, 0], torch.tensor([0.0, 1.5, 3.0]))""",
    "split_heads": """def split_heads(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)""",
}
WRONG = RIGHT["attend"].replace("q @ k.mT * scale", "q @ k.mT")
ALL = dict.fromkeys(RIGHT, "passed")


def base() -> dict:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    last = next(i for i, cell in enumerate(notebook["cells"]) if cell["id"] == "split_heads-handover")
    notebook["cells"] = notebook["cells"][: last + 1]
    for name, source in RIGHT.items():
        find(notebook, f"{name}-exercise")["source"] = source
    return notebook


def find(notebook: dict, identity: str) -> dict:
    return next(cell for cell in notebook["cells"] if cell.get("id") == identity)


def place(notebook: dict, identity: str) -> int:
    return notebook["cells"].index(find(notebook, identity))


def code(source: str, identity: str = "scratch") -> dict:
    return {
        "cell_type": "code", "id": identity, "metadata": {}, "source": source, "outputs": [], "execution_count": None
    }  # fmt: skip


EDITS: dict[str, tuple[Callable[[dict], object], dict[str, str]]] = {}


def edit(name: str, **expected: str) -> Callable:
    """The function below changes a notebook so that these exercises count as this; the others still pass."""

    def add(change: Callable[[dict], object]) -> Callable:
        EDITS[name] = change, ALL | expected
        return change

    return add


def edited(name: str) -> object:
    notebook = copy.deepcopy(base())
    changed = EDITS[name][0](notebook)
    return notebook if changed is None else changed


def put(name: str, source: str, **expected: str) -> None:
    """An edit that gives the exercise `attend` another source."""
    edit(name, **expected)(lambda notebook: find(notebook, "attend-exercise").update(source=source))


def scratch(name: str, where: str, source: str, empty: bool = True, **expected: str) -> None:
    """An edit that writes `source` into a new cell at the id `where`, and leaves the stub of `attend` untouched."""

    def change(notebook: dict) -> None:
        if empty:
            find(notebook, "attend-exercise")["source"] = STUB
        at = place(notebook, where) if where else len(notebook["cells"])
        notebook["cells"].insert(at, code(source))

    edit(name, **expected)(change)


STUB = "def attend(q, k, v, scale, visible=None):\n    raise NotImplementedError"

# ---------------------------------------------------------------- ids, tags, kinds of cells


@edit("as it is")
def _(notebook):
    pass


@edit("no ids")
def _(notebook):
    for cell in notebook["cells"]:
        cell.pop("id", None)


@edit("new ids")
def _(notebook):
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"{number:08x}"


@edit("no tags")
def _(notebook):
    for cell in notebook["cells"]:
        cell["metadata"] = {}


@edit("neither ids nor tags nor metadata")
def _(notebook):
    for cell in notebook["cells"]:
        cell.pop("id", None)
        cell.pop("metadata", None)
    notebook.pop("metadata")


@edit("the same id everywhere")
def _(notebook):
    for cell in notebook["cells"]:
        cell["id"] = "same"


@edit("two ids swapped")
def _(notebook):
    one, other = find(notebook, "attend-exercise"), find(notebook, "split_heads-exercise")
    one["id"], other["id"] = other["id"], one["id"]


@edit("ids that are no text, tags that are no list")
def _(notebook):
    for cell in notebook["cells"][10:]:
        cell["id"] = 5
        cell["metadata"] = {"tags": 7}


@edit("the tag of checks on the exercise")
def _(notebook):
    find(notebook, "attend-exercise")["metadata"] = {"tags": ["check"]}


@edit("turned into markdown", attend="missing")
def _(notebook):
    find(notebook, "attend-exercise")["cell_type"] = "markdown"


@edit("turned into a raw cell", attend="missing")
def _(notebook):
    find(notebook, "attend-exercise")["cell_type"] = "raw"


@edit("turned into markdown, and written again below")
def _(notebook):
    find(notebook, "attend-exercise")["cell_type"] = "markdown"
    notebook["cells"].insert(place(notebook, "attend-check"), code(RIGHT["attend"]))


@edit("sources as lists of lines")
def _(notebook):
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)


# ---------------------------------------------------------------- cells moved, lost, split and merged


@edit("the exercise deleted", attend="missing")
def _(notebook):
    del notebook["cells"][place(notebook, "attend-exercise")]


@edit("the exercise emptied", attend="missing")
def _(notebook):
    find(notebook, "attend-exercise")["source"] = ""


@edit("check and handover deleted")
def _(notebook):
    for part in ("check", "handover"):
        del notebook["cells"][place(notebook, f"attend-{part}")]


@edit("all checks deleted")
def _(notebook):
    notebook["cells"] = [c for c in notebook["cells"] if not c["id"].endswith("-check")]


@edit("check merged into the exercise")
def _(notebook):
    find(notebook, "attend-exercise")["source"] += "\n\ncheck(attend)"
    del notebook["cells"][place(notebook, "attend-check")]


@edit("exercise merged into the check")
def _(notebook):
    find(notebook, "attend-check")["source"] = RIGHT["attend"] + "\ncheck(attend)"
    del notebook["cells"][place(notebook, "attend-exercise")]


@edit("exercise, check and handover in one cell")
def _(notebook):
    cell = find(notebook, "attend-exercise")
    cell["source"] += "\n\ncheck(attend)\nfrom nanokimi.attention import attend\nattend"
    for part in ("check", "handover"):
        del notebook["cells"][place(notebook, f"attend-{part}")]


@edit("two exercises in one cell")
def _(notebook):
    find(notebook, "causal_mask-exercise")["source"] += "\n\n" + RIGHT["split_heads"]
    del notebook["cells"][place(notebook, "split_heads-exercise")]


@edit("the function split in the middle")
def _(notebook):
    first, second = RIGHT["attend"].split("\n    return")
    find(notebook, "attend-exercise")["source"] = first
    notebook["cells"].insert(place(notebook, "attend-exercise") + 1, code("    return" + second))


@edit("the exercise moved below the handover")
def _(notebook):
    cell = notebook["cells"].pop(place(notebook, "attend-exercise"))
    notebook["cells"].insert(place(notebook, "attend-handover") + 1, cell)


@edit("the exercise moved to the end")
def _(notebook):
    notebook["cells"].append(notebook["cells"].pop(place(notebook, "attend-exercise")))


@edit("the derivation deleted")
def _(notebook):
    del notebook["cells"][place(notebook, "attend-derivation")]


# ---------------------------------------------------------------- work in other places, work twice

scratch("work above, the stub untouched", "attend-derivation", RIGHT["attend"])
scratch("work below the stub", "attend-check", RIGHT["attend"])
scratch("work at the end, the stub untouched", "", RIGHT["attend"])
scratch("wrong work above, right in the exercise", "attend-derivation", WRONG, empty=False)
scratch("wrong work below the right one", "attend-check", WRONG, empty=False, attend="failed")
scratch("a wrong version at the end, for play", "", WRONG, empty=False)
scratch("a broken cell below the right one", "attend-check", "def attend(q, k:\n  oops", empty=False)
for _stub, _work, _status in ((True, RIGHT["attend"], "passed"), (False, WRONG, "failed")):
    _more = "untouched" if _stub else "right"
    _mine = _work.replace("def attend", "def mine") + "\nprint(attend := mine)"
    scratch(f"by := below, the stub {_more}", "attend-check", _mine, _stub, attend=_status)
    _mine = f"match 1:\n    case 1:\n{indent(_work, ' ' * 8)}"
    scratch(f"in a match below, the stub {_more}", "attend-check", _mine, _stub, attend=_status)
scratch("another cell raises an error", "attend-check", "1 / 0", empty=False)
scratch("only the stub and the handover", "attend-check", "", attend="not tried")

put("defined twice, the second right", f"{WRONG}\n\n{RIGHT['attend']}")
put("defined twice, the second wrong", f"{RIGHT['attend']}\n\n{WRONG}", attend="failed")
put("inside an if", "if True:\n" + "".join(f"    {line}\n" for line in RIGHT["attend"].splitlines()))
put("another name given to it", RIGHT["attend"].replace("def attend", "def mine") + "\nattend = mine")
put("a magic above it", "%time 1 + 1\n" + RIGHT["attend"])
put(
    "lines for a front end and a shell",
    "%matplotlib inline\n!ls\n%pip --version\n%nothing\n" + RIGHT["attend"],
)
put("its cell is timed", "%%time\n" + RIGHT["attend"])
put(
    "a helper above it",
    "import math\ndef helper(x): return x\n" + RIGHT["attend"].replace("@ v", "@ helper(v)"),
)
put("an error after the definition", RIGHT["attend"] + "\n\nattend(1, 2, 3, 4)")
put("an error before the definition", "1 / 0\n" + RIGHT["attend"], attend="failed")
put("renamed", RIGHT["attend"].replace("def attend", "def atend"), attend="missing")
put("no Python", "def attend(q k): pass", attend="failed")
put("the core's, imported", "from nanokimi.attention import attend", attend="failed")
put(
    "the core's, wrapped",
    "import nanokimi.attention as n\ndef attend(*a): return n.attend(*a)",
    attend="failed",
)
put("it prints a verdict", 'print({"exercise": "attend", "status": "passed"})\n' + WRONG, attend="failed")
put(
    "it ends its process when it is called",
    "def attend(*a):\n    import os\n    os._exit(0)",
    attend="failed",
)
put("it never ends", "def attend(*a):\n    while True: pass", attend="failed")
put("it is a number", "attend = 5", attend="failed")
put("in other letters", RIGHT["attend"].replace("mask = ", "маска = ").replace("~mask", "~маска"))
