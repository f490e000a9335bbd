"""Who checks the checks: a project of three tiny notebooks, one fault at a time, and the check that must turn red."""
import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import check
from execute import ROOT, render_readme

CORE = ["# core\n\n> One.", "#| default_exp core", "#| export\ndef one():\n    return 1", "one()"]
BATCHES = ["# data.batches\n\n> Two.", "#| default_exp data.batches", "#| export\nfrom zhrlhf.core import one",
           "#| export\ndef two():\n    return one() + one()", "assert two() == 2"]
INDEX = ["# small\n\nSee [core](01_core.ipynb).", "#| hide\n1", "print('hi')"]
PAGES = {"01_core": CORE, "13_data.batches": BATCHES, "index": INDEX}


def write(root, name, cells, outputs=None, kernel="python3"):
    "Write a notebook whose text cells are those that begin with `# ` or `*`; `outputs` belong to its last cell"
    made = []
    for i, text in enumerate(cells):
        cell = {"cell_type": "markdown" if text.startswith(("# ", "*")) else "code", "id": f"{i:08d}", "metadata": {},
                "source": text.splitlines(keepends=True)}
        if cell["cell_type"] == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append(cell)
    made[-1]["outputs"] = outputs or []
    spec = {"display_name": kernel, "language": "python", "name": kernel}
    nb = {"cells": made, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    (root / f"nbs/{name}.ipynb").write_text(json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def project(root):
    "A healthy project in the folder `root`"
    (root / "nbs").mkdir(parents=True)
    (root / "zhrlhf").mkdir()
    (root / "zhrlhf/__init__.py").write_text('__version__ = "0.0.1"\n')
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8").splitlines()
    settings = ["version = 0.0.1" if line.startswith("version") else line for line in settings]
    (root / "settings.ini").write_text("\n".join(settings) + "\n", encoding="utf-8")
    for name, cells in PAGES.items():
        write(root, name, cells)
    check._call([check.BIN / "nbdev_export"], root)
    (root / "README.md").write_text(render_readme(root / "nbs/index.ipynb"), encoding="utf-8")
    return root


def append(root, name, text):
    with open(root / name, "a", encoding="utf-8") as file:
        file.write(text)


def shown(text, kind="stream"):
    if kind == "error":
        return [{"output_type": "error", "ename": "E", "evalue": text, "traceback": [text]}]
    return [{"output_type": "stream", "name": "stdout", "text": [text]}]


# (check that must turn red, words it must say, how the fault is planted)
FAULTS = [
    ("sync", "zhrlhf/core.py: differs", lambda r: append(r, "zhrlhf/core.py", "x = 1\n")),
    ("sync", "zhrlhf/core.py: differs", lambda r: write(r, "01_core", [*CORE, "#| export\ndef more():\n    return 1"])),
    ("sync", "zhrlhf/old.py: no notebook writes", lambda r: append(r, "zhrlhf/old.py", "x = 1\n")),
    ("sync", "zhrlhf/data/batches.py: not exported", lambda r: (r / "zhrlhf/data/batches.py").unlink()),
    ("sync", "01_core.ipynb: not clean", lambda r: append(r, "nbs/01_core.ipynb", "\n")),
    ("pages", "begins with '# title'", lambda r: write(r, "01_core", CORE[1:])),
    ("pages", "no '> promise'", lambda r: write(r, "01_core", ["# core\n\nOne.", *CORE[1:]])),
    ("pages", "holds an error", lambda r: write(r, "01_core", CORE, shown("boom", "error"))),
    ("pages", "2.1 MB", lambda r: write(r, "01_core", CORE, shown("x" * 2_100_000))),
    ("pages", "cell 4: 81 lines", lambda r: write(r, "01_core", [*CORE, "1\n" * 81])),
    ("pages", "called python3", lambda r: write(r, "01_core", CORE, kernel="conda")),
    ("pages", "skip_exec", lambda r: write(r, "01_core", ["# core\n\n> One.\n\n- skip_exec: true", *CORE[1:]])),
    ("pages", "no notebook found", lambda r: [p.unlink() for p in r.glob("nbs/*.ipynb")]),
    ("names", "belongs to 01_core.ipynb already", lambda r: write(r, "02_core", CORE)),
    ("names", "call the notebook NN_data.batches", lambda r: (r / "nbs/13_data.batches.ipynb").rename(r / "nbs/13_batches.ipynb")),
    ("names", "exactly one", lambda r: write(r, "05_story", ["# s\n\n> S.", "#| export\nx = 1"])),
    ("imports", "01_core imports zhrlhf.data.batches from the later 13_data.batches",
     lambda r: append(r, "zhrlhf/core.py", "def f():\n    from .data.batches import two\n    return two\n")),
    ("imports", "01_core imports zhrlhf.data.batches from the later",
     lambda r: append(r, "zhrlhf/core.py", "from zhrlhf.data import batches\n")),
    ("imports", "13_data.batches imports zhrlhf.gone, which no notebook", lambda r: append(r, "zhrlhf/data/batches.py", "import zhrlhf.gone\n")),
    ("ruff", "F401", lambda r: append(r, "zhrlhf/core.py", "import os\n")),
    ("ruff", "F821", lambda r: append(r, "zhrlhf/core.py", "y = unknown\n")),
    ("readme", "not what nbs/index.ipynb says", lambda r: append(r, "README.md", "more\n")),
    ("readme", "missing", lambda r: (r / "nbs/index.ipynb").unlink()),
    ("outputs", "the path /home/me/run", lambda r: write(r, "01_core", CORE, shown("saved in /home/me/run."))),
]


def planted(root, fault):
    "Plant one fault in the project `root`; '' if the check finds it, otherwise a line that says what it said instead"
    name, words, plant = fault
    plant(root)
    said = check.CHECKS[name](root)
    return "" if any(words in line for line in said) else f"check {name}: should say {words!r}, said {said}"


def healthy(root):
    "Faults that the checks find in a project that has none"
    said = [f"healthy project: {name}: {line}" for name, f in check.CHECKS.items() if name != "faults" for line in f(root)]
    return said + [f"healthy notebook: {line}" for line in check.run_notebook(root / "nbs/13_data.batches.ipynb", root)]


def red_notebooks(root):
    "A notebook with a wrong assertion, one that does not end and one that is left out must all be red"
    write(root, "20_wrong", ["# wrong\n\n> W.", "assert 1 + 1 == 3, 'arithmetic'"])
    write(root, "21_slow", ["# slow\n\n> S.", "import time\ntime.sleep(99)"])
    (root / "nbs/off").mkdir()
    append(root, "nbs/off/.notest", "")
    write(root, "off/22_off", ["# off\n\n> O.", "1"])
    wanted = {"20_wrong": ("arithmetic", 60), "21_slow": ("still running after 3 s", 3), "off/22_off": ("did not run it", 60)}
    return [f"{name}: should be red and say {words!r}" for name, (words, seconds) in wanted.items()
            if not any(words in line for line in check.run_notebook(root / f"nbs/{name}.ipynb", root, seconds))]


def undetected():
    "Everything that the checks ought to have found and did not"
    with tempfile.TemporaryDirectory() as temp, ThreadPoolExecutor(2) as pool:
        model = project(Path(temp) / "model")
        again = [shutil.copytree(model, Path(temp) / str(i)) for i in range(len(FAULTS) + 2)]
        more = [pool.submit(healthy, again[-1]), pool.submit(red_notebooks, again[-2])]
        said = list(pool.map(planted, again, FAULTS))
        return [line for line in said if line] + [line for job in more for line in job.result()]
