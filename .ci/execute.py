"""Run notebooks and keep what they show: `execute.py [NAME …]`; then write README.md from nbs/index.ipynb, README_zh.md
from nbs/index_zh.ipynb and CONTRIBUTING.md from its chapter.

A NAME is part of a notebook's name (`core`, `5`, `01_core`); without one, all are run. A notebook is only written back
when every cell ran. Cells marked `#| eval: false`, `#| slow`, `#| long` or `#| gpu` are not run and keep their outputs."""
import argparse
import itertools
import os
import posixpath
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SKIPPED = re.compile(r"#\s*\|\s*(eval:\s*false|slow|long|gpu)\b", re.I)
DIRECTIVE = re.compile(r"#\s*\|.*\n?")
# pages at the root, and the notebooks that they are made from
RENDERED = {"README.md": "nbs/index.ipynb", "README_zh.md": "nbs/index_zh.ipynb",
            "CONTRIBUTING.md": "nbs/10_tools/1013_contributing.ipynb"}


def notebooks(root, names=()):
    "The notebooks below `root`/nbs whose name contains one of `names` (all, if there are none), in reading order"
    found = [p for p in sorted((root / "nbs").rglob("*.ipynb"))
             if not any(part.startswith(("_", ".")) for part in p.relative_to(root).parts)]
    return [p for p in found if not names or any(n.removesuffix(".ipynb") in p.stem for n in names)]


def environment(root):
    "The environment notebooks run in: one thread, no network for model hubs, UTF-8, this copy of the package first"
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1", "TQDM_DISABLE": "1",
            "PYTHONPATH": str(root), "IN_TEST": "1"}       # IN_TEST turns the export in a notebook's last cell off


def directives(source):
    "The `#|` lines at the top of a cell; below the first line of code they are mere comments"
    top = itertools.takewhile(lambda line: line.startswith("#"), source.splitlines())
    return [line for line in top if DIRECTIVE.match(line)]


def run_here(path):
    "Run one notebook in this process and write its outputs back; an exception leaves the file alone"
    from execnb.nbio import nb2str, read_nb
    from execnb.shell import CaptureShell
    nb = read_nb(path)

    def skip(cell):
        if cell.cell_type != "code" or any(SKIPPED.match(line) for line in directives(cell.source)):
            return True
        cell.outputs = []                        # execnb leaves old outputs where a cell shows nothing
        return False

    shell = CaptureShell(path, mpl_format="png")
    try:
        shell.run_all(nb, exc_stop=True, preproc=skip)
    except Exception:
        sys.exit(shell.prettytb(fname=path.name))
    temp = path.with_name(f".{path.name}.tmp")
    temp.write_text(nb2str(nb), encoding="utf-8")
    os.replace(temp, path)
    subprocess.run([BIN / "nbdev_clean", "--fname", str(path)], cwd=ROOT, check=True)


def run_apart(path):
    "Run one notebook in a process of its own: did it succeed?"
    done = subprocess.run([sys.executable, __file__, "--here", str(path)], cwd=path.parent, env=environment(ROOT),
                          capture_output=True, text=True, encoding="utf-8")
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {path.stem}", flush=True)
    if done.returncode:
        print(done.stderr[-4000:], flush=True)
    return done.returncode == 0


def _from_root(target, folder):
    "A link of a notebook in `folder`, as seen from the root; a page that is rendered there is named by its rendering"
    if re.match(r"[a-z]+:|#|/", target):
        return target
    file, _, heading = target.partition("#")
    path = posixpath.normpath(posixpath.join(folder, file))
    pages = {notebook: page for page, notebook in RENDERED.items()}
    return pages.get(path, path) + (f"#{heading}" if heading else "")


def render_readme(index):
    "README.md as it follows from the notebook `index`: its text and its code, without outputs and hidden cells"
    folder = index.parent.as_posix()[index.parent.as_posix().rindex("/nbs") + 1:]
    import nbformat
    from nbconvert import MarkdownExporter
    nb = nbformat.read(index, as_version=4)
    nb.metadata["language_info"] = {"name": "python"}
    nb.cells = [c for c in nb.cells if not any(re.match(r"#\s*\|\s*hide\b", d) for d in directives(c.source))]
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.source = [], "\n".join(s for s in cell.source.splitlines() if not DIRECTIVE.match(s))
    text, _ = MarkdownExporter().from_notebook_node(nb)
    text = re.sub(r"(\]\(|\bsrc=\"|\bhref=\")([^)\s\"]+)", lambda m: m[1] + _from_root(m[2], folder), text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("names", nargs="*", metavar="NAME")
    ask.add_argument("--here", metavar="PATH", help=argparse.SUPPRESS)
    ask.add_argument("--readme", action="store_true", help="only write the pages at the root: " + ", ".join(RENDERED))
    args = ask.parse_args()
    if args.here:
        return run_here(Path(args.here))
    # companions of tests show nothing
    chosen = [] if args.readme else [p for p in notebooks(ROOT, args.names) if not p.stem.endswith("_tests")]
    if not chosen and not args.readme:
        sys.exit(f"no notebook in nbs/ is called like {' or '.join(args.names) or 'anything'}")
    with ThreadPoolExecutor(2) as pool:
        good = list(pool.map(run_apart, chosen))
    for page, notebook in RENDERED.items():
        (ROOT / page).write_text(render_readme(ROOT / notebook), encoding="utf-8")
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
