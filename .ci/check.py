"""What `make test` runs: checks of the repository, then every notebook as a test.

Each check is a function from the project's root to a list of faults, one line each with its mend. The last line of the
output is `N passed, M failed`; N and M count checks and notebooks; the exit code is 1 if anything failed."""
import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from execute import BIN, ROOT, directives, environment, notebooks, render_readme

SECONDS = 600                        # for one notebook
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home|work|tmp|Users|var/folders)/[^\s'\"<>]*")


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
    for name in ("settings.ini", "README.md"):
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
            faults.append(f"{name}: " + ("not clean" if name.endswith(".ipynb") else "differs from its notebook") + "; make sync")
    return faults


def _tree(root):
    found = [*(root / "nbs").rglob("*.ipynb"), *(root / "zhrlhf").rglob("*.py")]
    return {str(p.relative_to(root)) for p in found if not {"__pycache__", ".ipynb_checkpoints"} & set(p.parts)}


def check_pages(root):
    "every notebook opens with a title and a promise, is small, and holds no error"
    faults = [] if notebooks(root) else ["nbs: no notebook found"]
    for path in notebooks(root):
        nb, name = read(path), path.name
        opening = source(nb["cells"][0]).splitlines() if nb["cells"] and nb["cells"][0]["cell_type"] == "markdown" else []
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
            if cell["cell_type"] == "code" and len(source(cell).splitlines()) >= 80:
                faults.append(f"{name}, cell {number}: {len(source(cell).splitlines())} lines; split it")
            if any(o["output_type"] == "error" for o in cell.get("outputs", [])):
                faults.append(f"{name}, cell {number}: holds an error; mend it, then make notebooks NB={path.stem}")
    return faults


def check_names(root):
    "a notebook NN_a.b.ipynb exports the module a.b, and nobody else does"
    faults, owner = [], {}
    for path in notebooks(root):
        modules, numbered = default_exp(read(path)), re.fullmatch(r"\d\d_(.+)", path.stem)
        exports = any(re.match(r"#\s*\|\s*export", d) for cell in code_cells(read(path)) for d in directives(source(cell)))
        if len(modules) > 1 or (exports and not modules):
            faults.append(f"{path.name}: exactly one '#| default_exp' is needed where cells are exported, found {len(modules)}")
        for module in modules:
            if module in owner:
                faults.append(f"{path.name}: default_exp {module} belongs to {owner[module]} already")
            if not numbered or numbered[1] != module:
                faults.append(f"{path.name}: exports {module}; call the notebook NN_{module}.ipynb")
            owner.setdefault(module, path.name)
    return faults


def check_imports(root):
    "a module imports only modules with a smaller number"
    chapters = {m: path.stem for path in notebooks(root) for m in default_exp(read(path))}
    faults = []
    for module, chapter in chapters.items():
        path = root / "zhrlhf" / (module.replace(".", "/") + ".py")
        if not path.exists():
            continue                                      # check_sync says so
        for other in sorted(_imported(path, module) - {module}):
            if other not in chapters:
                faults.append(f"{chapter} imports zhrlhf.{other}, which no notebook exports")
            elif chapters[other][:2] >= chapter[:2]:
                faults.append(f"{chapter} imports zhrlhf.{other} from the later {chapters[other]}")
    return faults


def _imported(path, module):
    "The modules of this package that the file imports, anywhere in it; `module` is its own dotted name"
    package, found = path.parents[len(module.split("."))], set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ["zhrlhf", *module.split(".")][:-node.level] if node.level else []
            base = ".".join(above + ([node.module] if node.module else []))
            for alias in node.names:                      # `from zhrlhf.data import batches` names a module or something in one
                whole = f"{base}.{alias.name}"
                found.add(whole if (package / (whole.replace(".", "/") + ".py")).exists() else base)
    return {name.removeprefix("zhrlhf.") for name in found if name.startswith("zhrlhf.")}


def check_ruff(root):
    "no unused import, no unknown name"
    done = _call([BIN / "ruff", "check", "--no-cache", "--isolated", "--select", "F", "--output-format", "concise", "zhrlhf"], root)
    return [] if done.returncode == 0 else (done.stdout + done.stderr).strip().splitlines()


def check_readme(root):
    "README.md is what nbs/index.ipynb says"
    index, readme = root / "nbs/index.ipynb", root / "README.md"
    if not index.exists():
        return ["nbs/index.ipynb: missing; README.md is made from it"]
    if not readme.exists() or readme.read_text(encoding="utf-8") != render_readme(index):
        return ["README.md: not what nbs/index.ipynb says; make notebooks NB=index"]
    return []


def check_outputs(root):
    "no output tells where on some machine it was made"
    faults = []
    for path in notebooks(root):
        for number, cell in enumerate(read(path)["cells"]):
            leak = MACHINE_PATH.search("\n".join(map(shown, cell.get("outputs", []))))
            if leak:
                faults.append(f"{path.name}, cell {number}: the output names the path {leak[0]}; do not show it")
    return faults


def check_faults(root):
    "each of these checks turns red on a fault that was planted for it"
    from faults import undetected
    return undetected()


CHECKS = {name.removeprefix("check_"): f for name, f in list(globals().items()) if name.startswith("check_")}


# Notebooks as tests

def run_notebook(path, root, seconds=SECONDS):
    "Test one notebook in a process of its own: the faults, as a list of lines"
    command = [BIN / "nbdev_test", "--n_workers", "0", "--path", str(path)]
    child = subprocess.Popen(command, cwd=root, env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, encoding="utf-8", errors="replace", start_new_session=True)
    try:
        said, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)              # with all that the notebook started
        said, _ = child.communicate()
        return [f"still running after {seconds} s; make it shorter", *_tail(said, 10).splitlines()]
    if "No files were eligible" in said:
        return ["nbdev_test did not run it"]
    return [] if child.returncode == 0 else _tail(said, 40).splitlines() or [f"exit code {child.returncode}"]


def _tail(text, lines):
    return "\n".join(line[:300] for line in text.strip().splitlines()[-lines:])


def _call(command, root):
    return subprocess.run(command, cwd=root, env=environment(root) | {"IN_TEST": ""}, capture_output=True, text=True, encoding="utf-8")


# Reporting

def report(kind, name, faults, began):
    "One line for a check or a notebook, and its faults below: did it pass?"
    lines = [f"{'ok  ' if not faults else 'FAIL'} {time.monotonic() - began:6.1f} s  {kind} {name}", *(f"         {f}" for f in faults)]
    print("\n".join(lines), flush=True)
    return not faults


def run_check(name, root):
    began = time.monotonic()
    try:
        faults = CHECKS[name](root)
    except Exception as error:                            # an unreadable notebook, say: red, and the other checks still run
        faults = [f"{type(error).__name__}: {error}"]
    return report("check", f"{name}: {CHECKS[name].__doc__}", faults, began)


def test_notebook(path, root):
    began = time.monotonic()
    return report("notebook", path.stem, run_notebook(path, root), began)


def main(argv=None, root=ROOT):
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("names", nargs="*", metavar="NAME", help="only checks and notebooks whose name contains one of these")
    ask.add_argument("--only", choices=["checks", "notebooks"], help="leave the other half out")
    ask.add_argument("--self-test", action="store_true", help="only plant faults in a small project and see them found")
    args = ask.parse_args(argv)
    checks = ["faults"] if args.self_test else [c for c in CHECKS if not args.names or any(n in c for n in args.names)]
    pages = [] if args.self_test else notebooks(root, args.names)
    results = [] if args.only == "notebooks" else [run_check(name, root) for name in checks]
    if args.only != "checks":
        with ThreadPoolExecutor(2) as pool:
            results += pool.map(lambda path: test_notebook(path, root), pages)
    if not results or (not args.names and not args.self_test and not pages):
        results.append(report("check", "something to do: no such check or notebook", ["nothing was found"], time.monotonic()))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
