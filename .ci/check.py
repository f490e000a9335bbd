"""What `make test` runs: checks of the repository, then every notebook as a test.

Each check is a function from the project's root to a list of faults, one line each with its fix. The last line of the
output is `N passed, M failed`; N and M count checks and notebooks; the exit code is 1 if anything failed."""
import argparse
import ast
import gc
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import book
import chapter
from execute import BIN, RENDERED, ROOT, SKIPPED, directives, environment, notebooks, render_readme

SECONDS = 600                        # for one notebook
CELL_LINES, COLUMNS, MODULE_LINES = 40, 120, 420
# From the ground up; a module imports only from layers before its own, or from its own folder.
LAYERS = ("base", "data", "models", "families", "training", "evals", "rl", "planning", "corpus", "commands", "studies",
          "testing")
STAGES = {"pretrain", "sft", "reward", "ppo", "grpo", "dpo"}  # none imports another
OPEN_TRAINING = {"training.stage", "training.trained", "training.inputs"}  # the rest of training imports base and training only
WING = "09_corpora"                  # only moved so far; an issue of its own replaces its inside
# Names that several modules may define, and why.
SHARED_NAMES = {"main": "the command line of every command", "train": "the entry point of every stage",
                "published_key": "each family of our own maps the keys of its published files"}
OWN_WAY = re.compile(r"""\(f?["'](?:\.\./)*(?:nbs/)?results(?:/[^"']*)?["']|cwd=["']\.\.[^"']*["']|"""
                     r"""\(f?["']\.\./(?:nbs|zhrlhf)[^"']*["']|Path\.cwd\(\)\.parent\b""")
MACHINE_PATH = re.compile(r"(?<![\w.:/<])/(?:root|home|work|tmp|Users|var/folders|mnt|opt|scratch|srv|media)/"
                          r"[^\s'\"<>]*|\b[A-Z]:\\\\?Users\b")
# Runs a command's --help in this interpreter, then prints which of the heavy libraries it has loaded
HELP = """import runpy, sys
import zhrlhf
if sys.argv[1:]:
    module = f"zhrlhf.{sys.argv[1]}"
    sys.argv = [module, "--help"]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code, end.code
print("loaded: " + ", ".join(sorted({"torch", "transformers"} & set(sys.modules))))"""
# Words that are meant, though codespell knows better: abbreviations, and mistakes that tests make on purpose
SPELT = ("caf", "clasic", "datas", "nd", "nwe", "rouge", "toke")
# Words of the first version that say less than the field's own (stepper: engine, watcher: callback, parted: sharded,
# …).
OLD_WORDS = re.compile(
    r"\b(steppers?|watchers?|parted|anew|dials|mend(?:ed|s)?|(?:nats|tokens|operations) a (?:token|second))\b")


# Reading notebooks

def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def code_cells(nb):
    return [cell for cell in nb["cells"] if cell["cell_type"] == "code"]


def default_exp(nb):
    "The modules that a notebook's `#| default_exp` lines name; normally one, none in a story"
    lines = [line for cell in code_cells(nb) for line in directives(source(cell))]
    return [m[1] for m in (re.match(r"#\s*\|\s*default_exp\s+([\w.]+)", line) for line in lines) if m]


def shown(output):
    "The text of an output, without pictures"
    texts = [output.get("text", ""), *output.get("traceback", [])]
    texts += [v for kind, v in output.get("data", {}).items() if not kind.startswith("image/")]
    joined = "\n".join("".join(t) if isinstance(t, list) else str(t) for t in texts)
    return re.sub(r"data:[\w/+]+;base64,[\w+/=]+", "", joined)


# The checks

def check_sync(root):
    "library and notebooks say the same, and no module is without a notebook"
    with tempfile.TemporaryDirectory() as temp:
        fresh = Path(temp) / "project"
        _copy_project(root, fresh)
        for module in (fresh / "zhrlhf").rglob("*.py"):
            if module != fresh / "zhrlhf/__init__.py":
                module.unlink()
        for command in ("nbdev_export", "nbdev_clean"):
            done = _call([BIN / command], fresh)
            if done.returncode:
                return [f"{command} failed: {_tail(done.stderr, 3)}"]
        return _differences(root, fresh)


def _copy_project(root, target):
    "The parts of the project that the checks look at"
    junk = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.tmp")
    target.mkdir()
    for folder in ("nbs", "zhrlhf"):
        shutil.copytree(root / folder, target / folder, ignore=junk)
    for name in ("settings.ini", *RENDERED):
        if (root / name).exists():
            shutil.copy(root / name, target / name)


def _differences(root, fresh):
    "Files below nbs and zhrlhf that are not what export and clean make of the notebooks"
    faults = []
    for name in sorted(_tree(root) | _tree(fresh)):
        here, there = root / name, fresh / name
        if not there.exists():
            faults.append(f"{name}: no notebook writes this module; delete it, then make sync")
        elif not here.exists():
            faults.append(f"{name}: not exported yet; make sync")
        elif here.read_bytes() != there.read_bytes():
            faults.append(f"{name}: " + ("not clean" if name.endswith(".ipynb") else "differs from its notebook")
                          + "; make sync")
    return faults


def _tree(root):
    found = [*(root / "nbs").rglob("*.ipynb"), *(root / "zhrlhf").rglob("*.py")]
    return {str(p.relative_to(root)) for p in found if not {"__pycache__", ".ipynb_checkpoints"} & set(p.parts)}


def check_pages(root):
    "every notebook opens with a title and a promise, its cells are short, and it holds no error"
    faults = [] if notebooks(root) else ["nbs: no notebook found"]
    for path in notebooks(root):
        nb, name = read(path), path.name
        opening = source(nb["cells"][0]).splitlines() if nb["cells"] and nb["cells"][0][
            "cell_type"] == "markdown" else []
        if not opening or not opening[0].startswith("# "):
            faults.append(f"{name}: the first cell must be text that begins with '# title'")
        elif path.stem != "index" and not any(line.startswith("> ") for line in opening):
            faults.append(f"{name}: no '> promise' line under the title")
        if any(re.search(r"skip_exec:\s*true", source(c)) for c in nb["cells"] if c["cell_type"] != "code"):
            faults.append(f"{name}: skip_exec leaves the whole notebook untested; mark single cells '#| eval: false'")
        if path.stat().st_size > 2_000_000:
            faults.append(f"{name}: {path.stat().st_size / 1e6:.1f} MB; make its outputs smaller than 2 MB")
        if nb["metadata"].get("kernelspec", {}).get("name") != "python3":
            faults.append(f"{name}: the kernel must be called python3")
        for number, cell in enumerate(nb["cells"]):
            faults += [f"{name}, cell {number}: {fault}" for fault in _cell_faults(cell, path)]
        skipped = [any(SKIPPED.match(d) for d in directives(source(cell))) for cell in code_cells(nb)]
        if skipped and all(skipped):
            faults.append(f"{name}: every code cell is skipped, so nothing is tested")
    return faults


def _cell_faults(cell, path):
    "What is wrong with one cell"
    if any(o["output_type"] == "error" for o in cell.get("outputs", [])):
        yield f"holds an error; fix it, then make notebooks NB={path.stem}"
    lines = source(cell).splitlines() if cell["cell_type"] == "code" else []
    if len(lines) > CELL_LINES and WING not in path.parts:
        yield f"{len(lines)} lines; split it, at most {CELL_LINES} fit on a screen"
    wide = [n for n, line in enumerate(lines, 1) if len(line) > COLUMNS]
    if wide:
        yield f"line {wide[0]} has {len(lines[wide[0] - 1])} columns; break it at {COLUMNS}"


def check_names(root):
    "a module is exported by one notebook, and every notebook stands in a part"
    faults, owner = [], {}
    for path in notebooks(root):
        modules, where = default_exp(read(path)), path.relative_to(root / "nbs")
        exports = any(re.match(r"#\s*\|\s*export", d) for cell in code_cells(read(path))
                      for d in directives(source(cell)))
        if len(modules) > 1 or (exports and not modules):
            faults.append(f"{path.name}: exactly one '#| default_exp' is needed where cells are exported, found "
                          f"{len(modules)}")
        for module in modules:
            if module in owner:
                faults.append(f"{path.name}: default_exp {module} belongs to {owner[module]} already")
            owner.setdefault(module, path.name)
        if path.stem not in ("index", "index_zh") and not re.fullmatch(r"\d\d_\w+/\d{3,4}_\w+\.ipynb", where.as_posix()):
            faults.append(f"{where}: call it PART/NUMBER_name.ipynb, such as 02_data/201_couplets.ipynb")
        if "auto" in where.as_posix():
            faults.append(f"{where}: nbdev leaves modules of notebooks with 'auto' in their path out of its index; "
                          f"choose another name")
        if any(re.match(r"#\s*\|\s*export\s+\w", d) for cell in code_cells(read(path))
               for d in directives(source(cell))):
            faults.append(f"{path.name}: '#| export MODULE' writes into another notebook's module; leave the name out")
        if path.stem.endswith("_tests") and exports:
            faults.append(f"{path.name}: a companion of tests exports nothing")
    return faults


def is_companion(path):
    "Whether a notebook is the companion of a chapter, which is tested together with it"
    return path.stem.endswith("_tests") and path.with_stem(path.stem.removesuffix("_tests")).exists()


def check_order(root):
    "chapter numbers are unique and belong to their part; the Next links, part pages and reading paths follow the order"
    faults, seen = [], {}
    for path in book.order(root)[1:]:
        number, part = book.number(path), int(path.parent.name[:2])
        if number in seen:
            faults.append(f"{path.name}: the number {number} is that of {seen[number]} already")
        seen.setdefault(number, path.name)
        if number // 100 != part:
            faults.append(f"{path.name}: chapters of {path.parent.name} have numbers from {part * 100} to "
                          f"{part * 100 + 99}")
    for folder in sorted({path.parent for path in book.order(root)[1:]}):
        if int(folder.name[:2]) * 100 not in map(book.number, folder.glob("*.ipynb")):
            faults.append(f"{folder.name}: no page {int(folder.name[:2]) * 100}_….ipynb, which tells the part's "
                          f"question and its chapters")
    for path in notebooks(root):
        if path.stem.endswith("_tests") and not is_companion(path):
            faults.append(f"{path.name}: a companion without its chapter {path.stem.removesuffix('_tests')}")
    return faults or list(_chain_faults(root))


def _chain_faults(root):
    "Cells that book.py would write otherwise, and chapters that end without a Next link"
    for path, cells in book.wanted(root).items():
        texts = [source(c) for c in read(path)["cells"] if c["cell_type"] == "markdown"]
        for begin, text in cells:
            found = [t for t in texts if t.startswith(begin)]
            if len(found) != 1:
                yield f"{path.name}: {len(found)} cells begin with {begin!r}, one is needed; make sync fills it"
            elif found[0] != text:
                yield f"{path.name}: the cell {begin!r} is not what the order of the book says; make sync"
            elif begin == "**Next:**" and texts[-1] != text:
                yield f"{path.name}: the Next link must be the last text of the page"


def check_chapters(root):
    "a chapter has its parts: 导读, formula, picture, what to vary, 小结, exercises that are solved, references"
    pages = [p for p in book.order(root)[1:] if not book.is_part_page(p)]
    known = set(map(chapter.name_of, pages))
    lists = {"REFERENCE": chapter.REFERENCE, "NO_FORMULA": chapter.NO_FORMULA, "NO_PICTURE": chapter.NO_PICTURE,
             "OPEN": chapter.OPEN}
    return [f"{path.name}: {fault}" for path in pages for fault in chapter.chapter_faults(path)] + [
        f".ci/chapter.py: {name} names {gone}, which is no chapter"
        for name, names in lists.items() for gone in sorted(names - known)]


def check_layers(root):
    "a module imports only from layers below its own, or from its own folder without a circle, and is short"
    graph = {}
    for path in sorted((root / "zhrlhf").rglob("*.py")):
        module = ".".join(path.relative_to(root / "zhrlhf").with_suffix("").parts)
        if path.name not in ("__init__.py", "_modidx.py"):
            graph[module] = _imported(path, module) - {module}
    faults = []
    opening = (root / "zhrlhf/__init__.py").read_text(encoding="utf-8")
    if not re.fullmatch(r"\s*__version__ = \S+\s*", opening):
        faults.append("zhrlhf/__init__.py: it holds the version and nothing else, so that `import zhrlhf` is light")
    for module, imported in graph.items():
        faults += [f"{module}: {fault}" for other in sorted(imported) for fault in _layer_faults(module, other, graph)]
        lines = len((root / "zhrlhf" / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8").splitlines())
        if lines > MODULE_LINES and _layer(module) != "corpus":
            faults.append(f"{module}: {lines} lines; take it apart, about 400 are enough")
    return faults + [f"{' → '.join(circle)}: a circle of imports" for circle in _circles(graph)]


def _layer(module):
    return module.split(".")[0] if "." in module else "families" if module == "families" else "commands"


def _layer_faults(module, other, graph):
    "Why `module` may not import `other`"
    here, there = _layer(module), _layer(other)
    if other not in graph:
        return [f"imports zhrlhf.{other}, which no notebook exports"]
    if here not in LAYERS or there not in LAYERS:
        return [f"{here if here not in LAYERS else there} is not in the list of layers"]
    if there == "testing" or (there == "corpus" and here != "corpus" and module != "corpora"):
        return [f"imports {other}; nothing in the main line needs {there}"] if here != there else []
    if LAYERS.index(there) > LAYERS.index(here):
        return [f"imports {other} from a layer above its own"]
    if here == "training" and module not in OPEN_TRAINING and there not in ("base", "training"):
        return [f"imports {other}; the loop and what stands around it know neither data nor families"]
    if {module, other} <= STAGES:
        return [f"imports its sibling {other}; what both need belongs into a folder below"]
    return []


def _circles(graph):
    "Circles in {module: imported modules}, each once"
    found, done = [], set()

    def visit(module, way):
        if module in way:
            found.append([*way[way.index(module):], module])
        elif module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, [*way, module])
            done.add(module)
    for module in graph:
        visit(module, [])
    return found


def _imported(path, module):
    "The modules of this package that the file imports, anywhere in it; `module` is its own dotted name"
    package, found = path.parents[len(module.split("."))], set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ["zhrlhf", *module.split(".")][:-node.level] if node.level else []
            base = ".".join(above + ([node.module] if node.module else []))
            # `from zhrlhf.data import batches` names a module or something in one
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                place = package / whole.replace(".", "/")
                found.add(whole if place.with_suffix(".py").exists() or (place.is_dir() and base == "zhrlhf") else base)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            found |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)
                      and isinstance(arg.value, str)}
    return {name.removeprefix("zhrlhf.") for name in found if name.startswith("zhrlhf.")}


def check_meanings(root):
    "a public name means one thing in the whole package"
    owners = {}
    for path in sorted((root / "zhrlhf").rglob("*.py")):
        where = path.relative_to(root / "zhrlhf").with_suffix("").as_posix().replace("/", ".")
        if path.name in ("__init__.py", "_modidx.py") or where.startswith("corpus."):
            continue                                      # the corpora wing is written again by an issue of its own
        for name in _defined(ast.parse(path.read_text(encoding="utf-8"))):
            owners.setdefault(name, []).append(where)
    return [f"{name} is defined in {', '.join(where)}; one name, one meaning" for name, where in sorted(owners.items())
            if len(where) > 1 and name not in SHARED_NAMES]


def _defined(tree):
    "The public names that a module defines: functions, classes, constants"
    for node in tree.body:
        if isinstance(node, (ast.If, ast.Try)):
            yield from _defined(node)
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        names = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)
                 and isinstance(n.ctx, ast.Store)]
        names = [node.name] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else names
        yield from (name for name in dict.fromkeys(names) if not name.startswith("_"))


def check_root(root):
    "a cell finds recorded results and the root by zhrlhf.testing.paths, whatever folder it runs in"
    faults = []
    for path in notebooks(root):
        for number, cell in enumerate(read(path)["cells"]):
            found = OWN_WAY.search(source(cell)) if cell["cell_type"] == "code" else None
            if found:
                faults.append(f"{path.name}, cell {number}: {found[0]} depends on the folder; use results_file(name) "
                              f"or project_root()")
    return faults


def check_links(root):
    "every link leads to a file and a heading that are there, and every zhrlhf.NAME to a module or something in it"
    faults, pages = [], [*(root / page for page in RENDERED), *notebooks(root), *sorted((root / "nbs/results").glob("*.json"))]
    for path in filter(Path.exists, pages):
        text = path.read_text(encoding="utf-8")
        cells = [(source(c), c["cell_type"])
                 for c in read(path)["cells"]] if path.suffix == ".ipynb" else [(text, "markdown")]
        for body, kind in cells:
            faults += [f"{path.name}: {fault}" for fault in _link_faults(root, path, body, kind)]
    return list(dict.fromkeys(faults))


def _link_faults(root, path, body, kind):
    "Dead links, notebook paths and module names in one text"
    for target in re.findall(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"{]+)\"",
                             body) if kind == "markdown" and path.suffix != ".json" else ():
        target = target[0] or target[1]
        if re.match(r"https?://[\w.-]+\.\w+|data:|mailto:", target):
            continue
        file, _, heading = target.partition("#")
        there = (path.parent / file) if file else path
        if not there.exists():
            yield f"the link {target} leads nowhere"
        elif heading and there.suffix == ".ipynb" and heading not in _headings(there):
            yield f"the link {target}: no such heading"
    for name in re.findall(r"nbs/([\w/.]+\.ipynb)", body):
        if not (root / "nbs" / name).exists():
            yield f"nbs/{name} is not there"
    for name in re.findall(r"(?<![\w./:@-])zhrlhf((?:\.[A-Za-z_]\w*)+)", body):
        # what tests call a module that is not there
        if name != ".nothing" and not _resolves(root, name[1:].split(".")):
            yield f"zhrlhf{name} is not there"


def check_options(root):
    "an option in a shown command exists"
    known, faults = _options(root), []
    for path in filter(Path.exists, [*(root / page for page in RENDERED), *notebooks(root)]):
        cells = read(path)["cells"] if path.suffix == ".ipynb" else [{"source": path.read_text(encoding="utf-8")}]
        for line in "\n".join(map(source, cells)).splitlines():
            shown_command = re.search(r"(?:-m|--module) zhrlhf\.(\w+)(.*)", line)
            if not shown_command or shown_command[1] not in known or " download" in shown_command[2]:
                continue
            words = re.findall(r"(?<![\w-])--([a-z][\w-]*)", shown_command[2])
            faults += [f"{path.name}: zhrlhf.{shown_command[1]} has no option --{word}" for word in words
                       if word.replace("-", "_").removeprefix("no_") not in known[shown_command[1]]]
    return faults


def _options(root):
    "{command: its options} from the annotated fields of the settings classes that its module names, and their bases"
    fields, bases, owners = {}, {}, {}
    for path in sorted((root / "zhrlhf").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                fields[node.name] = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign)}
                bases[node.name] = [getattr(base, "id", "") for base in node.bases]
                if path.parent == root / "zhrlhf" and node.name.endswith("Settings"):
                    owners.setdefault(path.stem, []).append(node.name)
        helps = [node for node in ast.walk(tree) if isinstance(node, ast.Call)
                 and getattr(node.func, "id", "") == "answer_help"]
        owners.setdefault(path.stem, []).extend(name.id for node in helps for name in ast.walk(node)
                                                if isinstance(name, ast.Name) and name.id.endswith("Settings"))

    def of(name):
        return fields.get(name, set()).union(*(of(base) for base in bases.get(name, ())))
    general = {"help", "config", "resume_from_checkpoint", "recipe", "hardware"}
    return {command: general.union(*map(of, classes)) for command, classes in owners.items() if classes}


def check_light(root):
    "`import zhrlhf` and `--help` of every command load neither torch nor transformers"
    commands = [path.stem for path in sorted((root / "zhrlhf").glob("*.py"))
                if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")]
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda name: _call([sys.executable, "-c", HELP, *name], root), [(), *((c,) for c in commands)])
    faults = []
    for name, found in zip(["import zhrlhf", *commands], done):
        *_, loaded = found.stdout.splitlines() or [""]
        if found.returncode or (name in commands and "usage: " not in found.stdout):
            faults.append(f"{name}: --help fails: {found.stderr.strip().splitlines()[-1:]}")
        elif loaded != "loaded: ":
            faults.append(f"{name}: {loaded}; its settings and answer_help stand before the imports that take seconds")
    return faults


def check_words(root):
    "words that only the first version used do not come back"
    return [f"{path.name}, cell {number}: {found[0]!r}; say it in the field's words" for path in notebooks(root)
            if WING not in path.parts for number, cell in enumerate(read(path)["cells"])
            for found in [OLD_WORDS.search(source(cell))] if found]


def _headings(path):
    "The anchors of a notebook's headings, as code hosts make them"
    return _headings_of(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=None)
def _headings_of(path, changed):
    lines = [line for c in read(path)["cells"] if c["cell_type"] == "markdown" for line in source(c).splitlines()
             if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", line.lstrip("# ")).strip().replace(" ", "-") for line in lines} | {
        line.lstrip("# ").strip().replace(" ", "-") for line in lines}


def _resolves(root, names):
    "Whether a.b.c is a folder, a module, or a name in one"
    package = root / "zhrlhf"
    for n in range(len(names), 0, -1):
        place = package.joinpath(*names[:n])
        if place.is_dir():
            return n == len(names)
        if place.with_suffix(".py").exists():
            module = place.with_suffix(".py")
            return n == len(names) or names[n].startswith("_") or names[n] in _names_in(module,
                                                                                        module.stat().st_mtime_ns)
    return names[0].startswith("__") or names == ["egg-info"]


@lru_cache(maxsize=None)
def _names_in(module, changed):
    "The names that a module defines or imports; `changed` tells one state of its file from another"
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom)
            for alias in node.names} | set(_defined(tree))


def check_ruff(root):
    "no unused import, no unknown name"
    done = _call([BIN / "ruff", "check", "--no-cache", "--isolated", "--select", "F", "--output-format", "concise",
                  "zhrlhf"], root)
    return [] if done.returncode == 0 else (done.stdout + done.stderr).strip().splitlines()


def check_spelling(root):
    "no word is spelt in a way that codespell knows as wrong"
    with tempfile.TemporaryDirectory() as temp:
        for path in notebooks(root):
            (Path(temp) / path.name).write_text("\n".join(map(source, read(path)["cells"])), encoding="utf-8")
        pages = [root / page for page in (*RENDERED, "CHANGELOG.md") if (root / page).exists()]
        done = _call([sys.executable, "-m", "codespell_lib", "-L", ",".join(SPELT), temp, *pages], root)
    if "No module named" in done.stderr:
        return ["codespell is not installed; make setup"]
    return [f"{Path(place).name}: {words.strip()}; correct it, or add a word that is meant to SPELT in .ci/check.py"
            for place, _, words in (line.rsplit(":", 2) for line in done.stdout.splitlines())]


def check_readme(root):
    "README.md and the other pages at the root are what their notebooks say, and both languages of it say the same"
    faults = []
    for page, notebook in RENDERED.items():
        made, here = root / notebook, root / page
        if not made.exists():
            faults.append(f"{notebook}: missing; {page} is made from it")
        elif not here.exists() or here.read_text(encoding="utf-8") != render_readme(made):
            faults.append(f"{page}: not what {notebook} says; make notebooks NB={made.stem}")
    return faults or list(_language_faults(root))


def _language_faults(root):
    "What one language of the README has and the other lacks: links, figures, commands, ticks"
    english, chinese = (_facts((root / page).read_text(encoding="utf-8")) for page in ("README.md", "README_zh.md"))
    for page, lacks in (("README_zh.md", english - chinese), ("README.md", chinese - english)):
        yield from (f"{page}: lacks {fact}, which the other language has" for fact in sorted(lacks))


def _facts(text):
    "What a page says whatever its language"
    links = set(re.findall(r"\]\(([^)\s]+)\)", text)) - {"README.md", "README_zh.md"}
    commands = {line.split("#")[0].strip() for line in text.splitlines() if line.startswith("    ")}
    rows = {f"{text.count(mark)} times {mark}" for mark in ("\n## ", "\n| ", "✓")}
    return links | commands | rows | set(re.findall(r"(?<![\w.])\d[\d.,]*\d(?![\w/])", text))


def check_outputs(root):
    "no output tells where on some machine it was made"
    faults = []
    for path in notebooks(root):
        for number, cell in enumerate(read(path)["cells"]):
            leak = MACHINE_PATH.search("\n".join(map(shown, cell.get("outputs", []))))
            if leak:
                faults.append(f"{path.name}, cell {number}: the output names the path {leak[0]}; do not show it")
    return faults


def check_site(root):
    "the pages of the site can be written, and everything public that its API shows has a docstring"
    import docs
    with tempfile.TemporaryDirectory() as temp:
        pages = book.order(root)
        docs.write_chapters(root, Path(temp), pages)
        docs.write_modules(root, Path(temp), pages)
        written = {path.stem for path in Path(temp, "api").glob("*.md")}
    faults = []
    for path in sorted((root / "zhrlhf").rglob("*.py")):
        name = ".".join(path.relative_to(root / "zhrlhf").with_suffix("").parts)
        if not path.name.startswith("_"):
            faults += [] if name in written else [f"{name}: no page of the site"]
            faults += [f"{name}: {what}" for what in docs.undescribed(ast.parse(path.read_text(encoding="utf-8")))]
    return faults


def check_faults(root):
    "each of these checks turns red on a fault that was planted for it"
    from faults import undetected
    return undetected()


SLOW_CHECKS = ("sync", "light", "faults")
CHECKS = {name.removeprefix("check_"): f for name, f in list(globals().items()) if name.startswith("check_")}


# Notebooks as tests

# What most notebooks import, for 6 of their CPU-seconds each: the process that starts them imports it once
LIBRARIES = ("nbdev.test", "matplotlib.pyplot", "pandas", "torch", "transformers.models.llama.modeling_llama", "peft",
             "transformers.generation.utils", "transformers.pytorch_utils", "tokenizers", "safetensors.torch")


class Running:
    "A notebook under test, and its companion if it has one, in a process of their own that is forked from this one"

    def __init__(self, path, root, seconds=SECONDS, flags=""):
        self.path, self.root, self.seconds, self.killed = path, root, seconds, False
        os.environ |= {"OMP_NUM_THREADS": "1"}            # read when torch is imported
        for library in LIBRARIES:
            importlib.import_module(library)
        gc.freeze()                                       # what is imported is neither searched nor copied again
        self.file, self.began = tempfile.TemporaryFile(), time.monotonic()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            _test_here(path, root, self.file.fileno(), flags)

    def ended(self):
        "None while it runs; then (lines of faults, CPU-seconds of the process and of all that it waited for)"
        pid, status, used = os.wait4(self.pid, os.WNOHANG)
        if not pid:
            if not self.killed and time.monotonic() - self.began > self.seconds:
                os.killpg(self.pid, signal.SIGKILL)       # with all that the notebook started
                self.killed = True
            return None
        with self.file:
            self.file.seek(0)
            said = self.file.read().decode("utf-8", "replace")
        return self._faults(said, os.waitstatus_to_exitcode(status)), used.ru_utime + used.ru_stime

    def _faults(self, said, code):
        if self.killed:
            return [f"still running after {self.seconds} s; make it shorter", *_tail(said, 10).splitlines()]
        if "No files were eligible" in said:
            return ["nbdev_test did not run it"]
        return [] if code == 0 else _tail(said, 40).splitlines() or [f"exit code {code}"]


def _test_here(path, root, output, flags):
    "In the forked process: what `nbdev_test` does for the notebook and its companion, then the end of the process"
    code = 1
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ |= environment(root)
        os.chdir(root)
        sys.path.insert(0, str(root))
        from nbdev.test import nbdev_test
        both = path.with_stem(f"{path.stem}_tests").exists()
        chosen = {"path": str(path.parent), "file_re": rf"^{path.stem}(_tests)?\.ipynb$"} if both else {"path": str(path)}
        nbdev_test(**chosen, flags=flags, n_workers=0)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_notebook(path, root, seconds=SECONDS, flags=""):
    "Test one notebook, with its companion: its faults, as a list of lines"
    running = Running(path, root, seconds, flags)
    while (found := running.ended()) is None:
        time.sleep(.05)
    return found[0]


def run_notebooks(pages, root, flags=""):
    "Test notebooks, two at a time: for each, whether it passed"
    waiting, running, results = list(pages), [], []
    while waiting or running:
        while waiting and len(running) < 2:
            running.append(Running(waiting.pop(0), root, SECONDS * (3 if flags else 1), flags))
        for one in list(running):
            if (found := one.ended()) is not None:
                running.remove(one)
                name = one.path.relative_to(root / "nbs").with_suffix("").as_posix()
                results.append(report("notebook", name, found[0], one.began, found[1]))
        time.sleep(.05)
    return results


def _tail(text, lines):
    return "\n".join(line[:300] for line in text.strip().splitlines()[-lines:])


def _call(command, root):
    return subprocess.run(command, cwd=root, env=environment(root) | {"IN_TEST": ""}, capture_output=True, text=True,
                          encoding="utf-8")


# Reporting

def report(kind, name, faults, began, cpu=None):
    "One line for a check or a notebook, and its faults below: did it pass?"
    cost = "" if cpu is None else f"{cpu:6.1f} CPU-s  "
    lines = [f"{'ok  ' if not faults else 'FAIL'} {time.monotonic() - began:6.1f} s  {cost}{kind} {name}",
             *(f"         {f}" for f in faults)]
    print("\n".join(lines), flush=True)
    return not faults


def run_check(name, root):
    began = time.monotonic()
    try:
        faults = CHECKS[name](root)
    except Exception as error:
        # an unreadable notebook, say: red, and the other checks still run
        faults = [f"{type(error).__name__}: {error}"]
    return report("check", f"{name}: {CHECKS[name].__doc__}", faults, began)


def record_all(root, results, began):
    "Writes what a run with the long cells gave into nbs/results/test-all.json"
    found = {"command": "make test-all", "date": time.strftime("%Y-%m-%d"), "passed": sum(results),
             "failed": len(results) - sum(results), "seconds": round(time.monotonic() - began),
             "cpu_seconds": round(sum(os.times()[:4])), "cores": os.cpu_count(), "python": sys.version.split()[0]}
    path = root / "nbs/results/test-all.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main(argv=None, root=ROOT):
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("names", nargs="*", metavar="NAME",
                     help="only checks and notebooks whose name contains one of these")
    ask.add_argument("--only", choices=["checks", "notebooks"], help="leave the other half out")
    ask.add_argument("--quick", action="store_true",
                     help="leave out " + ", ".join(SLOW_CHECKS) + ": what takes longer than seconds")
    ask.add_argument("--all", action="store_true", help="also run cells marked '#| long', and record the result")
    ask.add_argument("--self-test", action="store_true", help="only plant faults in a small project and see them found")
    args, began = ask.parse_args(argv), time.monotonic()
    checks = ["faults"] if args.self_test else [c for c in CHECKS if not args.names or any(n in c for n in args.names)]
    checks = [c for c in checks if not args.quick or c not in SLOW_CHECKS]
    pages = [] if args.self_test else notebooks(root, args.names)
    pages = list(dict.fromkeys(p.with_stem(p.stem.removesuffix("_tests")) if is_companion(p) else p for p in pages))
    results = [] if args.only == "notebooks" else [run_check(name, root) for name in checks]
    if args.only != "checks":
        results += run_notebooks(pages, root, "long" if args.all else "")
    if not results or (not args.names and not args.self_test and not pages):
        results.append(report("check", "something to do: no such check or notebook", ["nothing was found"],
                              time.monotonic()))
    if args.all and not (args.names or args.only or args.self_test):
        record_all(root, results, began)
    print(f"{sum(os.times()[:4]):.0f} CPU-seconds")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
