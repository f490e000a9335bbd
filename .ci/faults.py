"""Who checks the checks: a project of five tiny notebooks, one fault at a time, and the check that must turn red."""
import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import book
import chapter
import check
from execute import RENDERED, ROOT, render_readme

ERRORS = ["# base.errors\n\n> One.\n\n**中文导读。** 一。", "#| default_exp base.errors", "#| export\ndef one():\n    '1'\n    return 1", "one()",
          "**Next:**"]
BATCHES = ["# data.batches\n\n> Two.\n\n**中文导读。** 二。", "#| default_exp data.batches", "#| export\nfrom zhrlhf.base.errors import one",
           "#| export\ndef two():\n    '2'\n    return one() + one()", "assert two() == 2"]
# A chapter with every part; the two above are looked up only
FULL = {"title": "# full\n\n> All.\n\n**中文导读。** 全。", "formula": "*Sum:*\n\n$$1 + 1$$", "code": "1 + 1",
        "vary": "## What to vary\n\n| change | look at | expect |\n| --- | --- | --- |\n| 1 | 2 | 3 |",
        "summary": "## 小结\n\n- 一。", "exercises": "## Exercises\n\n1. One?\n2. Two?\n3. Three?",
        "one": "# Solution 1: one\nassert 1", "two": "# Solutions 2 and 3: two, three\nassert 2",
        "references": "## References\n\n- [A paper](https://example.org)", "next": "**Next:**"}
START = ["# Part 1: Start\n\n> Why?", "| | chapter |", "**Next:**"]
TOOLS = ["# Part 2: Data\n\n> How?", "| | chapter |", "**Next:**"]
INDEX = ["# small\n\nSee [base.errors](01_start/101_errors.ipynb#one-two).", "#| hide\n1", "print('hi')", "| time |",
         "| part |", "**Next:**"]
INDEX_ZH = ["# small\n\n> 小。\n\n见 [base.errors](01_start/101_errors.ipynb#one-two)。", "print('hi')", "| 时间 |", "| 部分 |",
            "[下一页](01_start/100_start.ipynb)"]
PAGES = {"01_start/100_start": START, "01_start/101_errors": [*ERRORS[:-1], "## one two", ERRORS[-1]],
         "01_start/103_full": list(FULL.values()),
         "01_start/104_plain": [text for part, text in FULL.items() if part != "formula"],  # excused
         "01_start/106_ready": [text for part, text in FULL.items() if part != "references"],  # on the list OPEN
         "02_data/200_data": TOOLS, "02_data/201_batches": BATCHES,
         "index": INDEX, "index_zh": INDEX_ZH}
TEXT = ("# ", "## ", "*", "|", "See ", "[")
CODE = "# Solution"                  # looks like a title, is code
PICTURE = [{"output_type": "display_data", "data": {"image/png": "aGk="}, "metadata": {}}]


def write(root, name, cells, outputs=None, kernel="python3"):
    "Write a notebook whose text cells begin with one of TEXT; `outputs` belong to its last code cell"
    made = []
    for i, text in enumerate(cells):
        cell = {"cell_type": "markdown" if text.startswith(TEXT) and not text.startswith(CODE)
                else "code", "id": f"{i:08d}", "metadata": {},
                "source": text.splitlines(keepends=True)}
        if cell["cell_type"] == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append(cell)
    for cell in [c for c in made if c["cell_type"] == "code"][-1:]:
        cell["outputs"] = outputs or []
    spec = {"display_name": kernel, "language": "python", "name": kernel}
    nb = {"cells": made, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    (root / f"nbs/{name}.ipynb").parent.mkdir(parents=True, exist_ok=True)
    (root / f"nbs/{name}.ipynb").write_text(json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True) + "\n",
                                            encoding="utf-8")


def project(root):
    "A healthy project in the folder `root`"
    (root / "nbs").mkdir(parents=True)
    (root / "zhrlhf").mkdir()
    (root / "zhrlhf/__init__.py").write_text('__version__ = "0.0.1"\n')
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8").splitlines()
    settings = ["version = 0.0.1" if line.startswith("version") else line for line in settings]
    (root / "settings.ini").write_text("\n".join(settings) + "\n", encoding="utf-8")
    for name, cells in PAGES.items():
        write(root, name, cells, PICTURE if FULL["vary"] in cells else None)
    book.main(root)
    check._call([check.BIN / "nbdev_export"], root)
    render(root)
    return root


def render(root):
    "Write the pages at the root as their notebooks say, with the tables that follow from the order"
    book.main(root)
    for page, notebook in RENDERED.items():
        (root / page).write_text(render_readme(root / notebook), encoding="utf-8")


def append(root, name, text):
    with open(root / name, "a", encoding="utf-8") as file:
        file.write(text)


def shown(text, kind="stream"):
    if kind == "error":
        return [{"output_type": "error", "ename": "E", "evalue": text, "traceback": [text]}]
    return [{"output_type": "stream", "name": "stdout", "text": [text]}]


COMMAND = 'if __name__ == "__main__":\n    print("usage: tea")\n'
CORE, BAT = "01_start/101_errors", "02_data/201_batches"


def cells_of(*more):
    "The cells of the chapter `101_errors` with more of them"
    return [*PAGES[CORE], *more]


def full(root, name="103_full", picture=PICTURE, fold=True, **parts):
    "The chapter with every part, some of them replaced or, with None, left out"
    cells = [text for text in (FULL | parts).values() if text]
    write(root, f"01_start/{name}", cells, picture)
    if fold:
        path = root / f"nbs/01_start/{name}.ipynb"
        nb = book.read(path)
        chapter.fold(nb["cells"])
        path.write_text(json.dumps(nb), encoding="utf-8")


def swapped(root):
    "The chapter with every part, its references before its exercises"
    order = ["title", "formula", "code", "vary", "summary", "references", "exercises", "one", "two", "next"]
    write(root, "01_start/103_full", [FULL[part] for part in order], PICTURE)


def defines(root, module, text):
    "Add code to a module as if a notebook had exported it"
    path = root / f"zhrlhf/{module}.py"
    path.parent.mkdir(exist_ok=True)
    append(root, f"zhrlhf/{module}.py", text)


def put_next_first(root):
    "Move the Next link of the chapter `101_errors` in front of another text"
    path = root / f"nbs/{CORE}.ipynb"
    nb = book.read(path)
    nb["cells"].append({**nb["cells"][0], "id": "ffffffff", "source": ["More."]})
    path.write_text(json.dumps(nb), encoding="utf-8")


def rename(root, old, new):
    (root / f"nbs/{new}.ipynb").parent.mkdir(exist_ok=True)
    (root / f"nbs/{old}.ipynb").rename(root / f"nbs/{new}.ipynb")


# (check that must turn red, words it must say, how the fault is planted)
FAULTS = [
    ("sync", "zhrlhf/base/errors.py: differs", lambda r: append(r, "zhrlhf/base/errors.py", "x = 1\n")),
    ("sync", "zhrlhf/base/errors.py: differs",
     lambda r: write(r, CORE, cells_of("#| export\ndef more():\n    return 1"))),
    ("sync", "zhrlhf/old.py: no notebook writes", lambda r: append(r, "zhrlhf/old.py", "x = 1\n")),
    ("sync", "zhrlhf/data/batches.py: not exported", lambda r: (r / "zhrlhf/data/batches.py").unlink()),
    ("sync", "101_errors.ipynb: not clean", lambda r: append(r, f"nbs/{CORE}.ipynb", "\n")),
    ("pages", "begins with '# title'", lambda r: write(r, CORE, ERRORS[1:])),
    ("pages", "no '> promise'", lambda r: write(r, CORE, ["# base.errors\n\nOne.", *ERRORS[1:]])),
    ("pages", "holds an error", lambda r: write(r, CORE, ERRORS, shown("boom", "error"))),
    ("pages", "2.1 MB", lambda r: write(r, CORE, ERRORS, shown("x" * 2_100_000))),
    ("pages", ": 41 lines", lambda r: write(r, CORE, cells_of("1\n" * 41))),
    ("pages", "has 121 columns", lambda r: write(r, CORE, cells_of("1\n" + "x" * 121))),
    ("pages", "called python3", lambda r: write(r, CORE, ERRORS, kernel="conda")),
    ("pages", "skip_exec", lambda r: write(r, CORE, ["# base.errors\n\n> One.\n\n- skip_exec: true", *ERRORS[1:]])),
    ("pages", "no notebook found", lambda r: [p.unlink() for p in r.glob("nbs/**/*.ipynb")]),
    ("names", "belongs to 101_errors.ipynb already", lambda r: write(r, "01_start/102_errors", ERRORS)),
    ("names", "call it PART/NUMBER_name.ipynb", lambda r: rename(r, BAT, "13_data.batches")),
    ("names", "exactly one", lambda r: write(r, "01_start/105_story", ["# s\n\n> S.", "#| export\nx = 1"])),
    ("names", "'auto' in their path", lambda r: rename(r, BAT, "02_data/201_auto_batches")),
    ("names", "exports nothing", lambda r: rename(r, BAT, "02_data/201_batches_tests")),
    ("order", "the number 101 is that of 101_errors.ipynb already",
     lambda r: write(r, "01_start/101_more", ["# m\n\n> M.", "**Next:**"])),
    ("order", "have numbers from 200 to 299", lambda r: rename(r, BAT, "02_data/301_batches")),
    ("order", "01_start: no page 100_", lambda r: (r / "nbs/01_start/100_start.ipynb").unlink()),
    ("order", "a companion without its chapter", lambda r: write(r, "01_start/102_more_tests", ["# m\n\n> M.", "1"])),
    ("order", "101_errors.ipynb: 0 cells begin with '**Next:**'", lambda r: write(r, CORE, ERRORS[:-1])),
    ("order", "101_errors.ipynb: the cell '**Next:**' is not what", lambda r: write(r, CORE, ERRORS)),
    ("order", "200_data.ipynb: the cell '| | chapter |' is not what",
     lambda r: write(r, "02_data/202_more", ["# m\n\n> M."])),
    ("order", "index.ipynb: 0 cells begin with '| time |'", lambda r: write(r, "index", INDEX[:3])),
    ("light", "import zhrlhf: loaded: torch", lambda r: append(r, "zhrlhf/__init__.py", "import torch\n")),
    ("light", "tea: loaded: torch", lambda r: defines(r, "tea", "import torch\n" + COMMAND)),
    ("light", "tea: --help fails", lambda r: defines(r, "tea", "import nothing_here\n" + COMMAND)),
    ("layers", "base.errors: imports data.batches from a layer above", lambda r: append(
        r, "zhrlhf/base/errors.py", "def f():\n    from ..data.batches import two\n    return two\n")),
    ("layers", "base.errors: imports data.batches from a layer above", lambda r: append(
        r, "zhrlhf/base/errors.py", "from zhrlhf.data import batches\n")),
    ("layers", "data.batches: imports zhrlhf.gone, which no notebook",
     lambda r: append(r, "zhrlhf/data/batches.py", "import zhrlhf.gone\n")),
    ("layers", "a circle of imports",
     lambda r: (defines(r, "data/a", "from .b import x\n"), defines(r, "data/b", "from .a import x\n"))),
    ("layers", "nothing in the main line needs testing", lambda r: (
        defines(r, "testing/checks", "x = 1\n"),
        append(r, "zhrlhf/data/batches.py", "from ..testing.checks import x\n"))),
    ("layers", "nothing in the main line needs corpus", lambda r: (
        defines(r, "corpus/text", "x = 1\n"), append(r, "zhrlhf/data/batches.py", "from ..corpus.text import x\n"))),
    ("layers", "know neither data nor families",
     lambda r: defines(r, "training/loop", "from ..data.batches import two\n")),
    ("layers", "imports its sibling ppo",
     lambda r: (defines(r, "ppo", "x = 1\n"), defines(r, "grpo", "from .ppo import x\n"))),
    ("layers", "odd is not in the list of layers",
     lambda r: defines(r, "odd/thing", "from ..base.errors import one\n")),
    ("layers", "500 lines; take it apart", lambda r: defines(r, "data/long", "x = 1\n" * 500)),
    ("meanings", "one is defined in base.errors, data.other",
     lambda r: defines(r, "data/other", "def one():\n    return 3\n")),
    ("root", '("../zhrlhf/assets" depends on the folder',
     lambda r: write(r, CORE, cells_of('Path("../zhrlhf/assets")'))),
    ("root", '("results/x.json" depends on the folder',
     lambda r: write(r, CORE, cells_of('read_json("results/x.json")'))),
    ("links", "the link 54_ppo.ipynb leads nowhere", lambda r: write(r, CORE, cells_of("See [ppo](54_ppo.ipynb)."))),
    ("links", "no such heading", lambda r: write(r, CORE, cells_of("See [two](../02_data/201_batches.ipynb#three)."))),
    ("links", "nbs/55_ppo.ipynb is not there",
     lambda r: write(r, CORE, cells_of('"the slow cell of nbs/55_ppo.ipynb"'))),
    ("links", "zhrlhf.core is not there", lambda r: write(r, CORE, cells_of('"from zhrlhf.core import one"'))),
    ("links", "zhrlhf.base.errors.three is not there",
     lambda r: write(r, CORE, cells_of("See `zhrlhf.base.errors.three`."))),
    ("ruff", "F401", lambda r: append(r, "zhrlhf/base/errors.py", "import os\n")),
    ("ruff", "F821", lambda r: append(r, "zhrlhf/base/errors.py", "y = unknown\n")),
    ("readme", "not what nbs/index.ipynb says", lambda r: append(r, "README.md", "more\n")),
    ("readme", "missing", lambda r: (r / "nbs/index.ipynb").unlink()),
    ("readme", "README_zh.md: not what nbs/index_zh.ipynb says", lambda r: (r / "README_zh.md").unlink()),
    ("readme", "README_zh.md: lacks nbs/01_start/103_full.ipynb", lambda r: (
        write(r, "index", [INDEX[0] + " [b](01_start/103_full.ipynb)", *INDEX[1:]]), render(r))),
    ("readme", "README.md: lacks 0.76", lambda r: (write(r, "index_zh", [*INDEX_ZH, "* 0.76"]), render(r))),
    ("order", "index_zh.ipynb: the cell '| 部分 |'", lambda r: write(r, "index_zh", INDEX_ZH)),
    ("outputs", "the path /home/me/run", lambda r: write(r, CORE, ERRORS, shown("saved in /home/me/run."))),
    ("pages", "every code cell is skipped", lambda r: write(r, "01_start/105_story", ["# s\n\n> S.", "#| slow\n1"])),
    ("names", "writes into another notebook's module",
     lambda r: write(r, BAT, [*BATCHES, "#| export data.more\nx = 1"])),
    ("order", "the Next link must be the last text", lambda r: put_next_first(r)),
    ("layers", "imports zhrlhf.data, which no notebook", lambda r: append(
        r, "zhrlhf/base/errors.py", "from .. import data\n")),
    ("layers", "base.errors: imports data.batches from a layer above", lambda r: append(
        r, "zhrlhf/base/errors.py", "import importlib\nb = importlib.import_module('zhrlhf.data.batches')\n")),
    ("layers", "imports its sibling sft", lambda r: (
        defines(r, "sft", "x = 1\n"), defines(r, "pretrain", "from .sft import x\n"))),
    ("layers", "training.optim: imports data.batches; the loop", lambda r: defines(
        r, "training/optim", "from ..data.batches import two\n")),
    ("layers", "so that `import zhrlhf` is light", lambda r: append(r, "zhrlhf/__init__.py", "import torch\n")),
    ("meanings", "one is defined in base.errors, data.other", lambda r: defines(r, "data/other", "one: int = 3\n")),
    ("root", "'results/x.json' depends on the folder",
     lambda r: write(r, CORE, cells_of("read_json('results/x.json')"))),
    ("links", "the link gone.ipynb leads nowhere", lambda r: write(r, CORE, cells_of('See [a](gone.ipynb "title").'))),
    ("links", "zhrlhf.base.errors.Three is not there",
     lambda r: write(r, CORE, cells_of("See `zhrlhf.base.errors.Three`."))),
    ("options", "zhrlhf.sft has no option --lora-rank", lambda r: (
        defines(r, "sft", "class SFTSettings:\n    lora_r: int = 0\n"),
        write(r, CORE, cells_of("See `python -m zhrlhf.sft --lora-r 4 --lora-rank 4`.")))),
    ("chapters", "lacks 中文导读", lambda r: write(r, CORE, ["# base.errors\n\n> One.", *ERRORS[1:]])),
    ("chapters", "lacks a displayed formula", lambda r: full(r, formula=None)),
    ("chapters", "lacks a picture", lambda r: full(r, picture=shown("12"))),
    ("chapters", "lacks a table under '## What to vary'", lambda r: full(r, vary="## What to vary\n\nMuch.")),
    ("chapters", "lacks a list under '## 小结'", lambda r: full(r, summary=None)),
    ("chapters", "lacks three numbered questions", lambda r: full(r, exercises="## Exercises\n\n1. One?\n2. Two?")),
    ("chapters", "lacks a link under '## References'", lambda r: full(r, references="## References\n\n- A paper")),
    ("chapters", "the order at the end is", swapped),
    ("chapters", "each of the exercises 1 to 3", lambda r: full(r, two="# Solution 2: two\nassert 2")),
    ("chapters", "two solutions at least must be code", lambda r: full(r, one="# Solution 1: one\n1")),
    ("chapters", "a solution is not folded", lambda r: full(r, fold=False)),
    ("chapters", "take it off the list OPEN", lambda r: full(r, "106_ready")),
    ("chapters", "take it off the list in .ci", lambda r: full(r, "104_plain")),
    ("chapters", "REFERENCE names errors, which is no chapter", lambda r: (r / f"nbs/{CORE}.ipynb").unlink()),
    ("words", "'watcher'; say it in the field's words", lambda r: write(r, CORE, cells_of("See the watcher."))),
    ("site", "data.batches: three has no docstring",
     lambda r: append(r, "zhrlhf/data/batches.py", "def three():\n    return 3\n")),
    ("spelling", "101_errors.ipynb: recieve ==> receive", lambda r: write(r, CORE, cells_of("See what you recieve."))),
    ("outputs", "the path /mnt/me/run", lambda r: write(r, CORE, ERRORS, shown("saved in /mnt/me/run."))),
]


def planted(root, fault):
    "Plant one fault in the project `root`; '' if the check finds it, otherwise a line that says what it said instead"
    name, words, plant = fault
    plant(root)
    said = check.CHECKS[name](root)
    return "" if any(words in line for line in said) else f"check {name}: should say {words!r}, said {said}"


def healthy(root):
    "Faults that the checks find in a project that has none"
    said = [f"healthy project: {name}: {line}" for name, f in check.CHECKS.items() if name != "faults"
            for line in f(root)]
    return said + [f"healthy notebook: {line}"
                   for line in check.run_notebook(root / "nbs/02_data/201_batches.ipynb", root)]


def red_notebooks(root):
    """A notebook with a wrong assertion, one whose companion is wrong, one that does not end and one that is left out
    must all be red"""
    write(root, "20_wrong", ["# wrong\n\n> W.", "assert 1 + 1 == 3, 'arithmetic'"])
    write(root, "23_good", ["# good\n\n> G.", "1"])
    write(root, "23_good_tests", ["# good: tests\n\n> G.", "assert 2 + 2 == 5, 'more arithmetic'"])
    write(root, "21_slow", ["# slow\n\n> S.", "import time\ntime.sleep(99)"])
    (root / "nbs/off").mkdir()
    append(root, "nbs/off/.notest", "")
    write(root, "off/22_off", ["# off\n\n> O.", "1"])
    wanted = {"20_wrong": ("arithmetic", 60), "23_good": ("more arithmetic", 60),
              "21_slow": ("still running after 3 s", 3), "off/22_off": ("did not run it", 60)}
    return [f"{name}: should be red and say {words!r}" for name, (words, seconds) in wanted.items()
            if not any(words in line for line in check.run_notebook(root / f"nbs/{name}.ipynb", root, seconds))]


def undetected():
    "Everything that the checks ought to have found and did not"
    paths = mock.patch.dict(book.PATHS, {"one hour": "101 201"}, clear=True)
    pages = mock.patch.dict(RENDERED, {page: name for page, name in RENDERED.items() if page.startswith("README")},
                            clear=True)
    lists = mock.patch.multiple(chapter, REFERENCE={"errors", "batches"}, NO_FORMULA={"plain"}, NO_PICTURE=set(),
                                OPEN={"ready"})
    with paths, pages, lists, tempfile.TemporaryDirectory() as temp:
        model = project(Path(temp) / "model")
        again = [shutil.copytree(model, Path(temp) / str(i)) for i in range(len(FAULTS) + 2)]
        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(planted, again, FAULTS))
        more = [*healthy(again[-1]), *red_notebooks(again[-2])]          # they fork, so no thread may run beside them
        untested = set(check.CHECKS) - {"faults"} - {name for name, *_ in FAULTS}
        return [*(f"check {name}: no fault is planted for it" for name in sorted(untested)), *filter(None, said), *more]
