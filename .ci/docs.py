"""Build the site into _docs/html: `docs.py [NAME …]`, from the notebooks with their outputs and from the docstrings.

Nothing is executed and nothing is fetched. The pages are written into _docs/source first: a page per chapter, and a
page per module, read from its syntax tree. A NAME is part of a chapter's name; without one all are built."""
import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import book
from execute import DIRECTIVE, ROOT, directives, notebooks

SITE = Path(__file__).with_name("site")
OUT = ROOT / "_docs"
HIDDEN = re.compile(r"#\s*\|\s*(hide\b|default_exp\b)")
API = "API ‖ 接口"


def repository(root=ROOT):
    "The address of the repository, from settings.ini"
    parser = ConfigParser(delimiters=["="])
    parser.read(root / "settings.ini", encoding="utf-8")
    return parser["DEFAULT"]["git_url"]


def anchor(text):
    "The anchor of a heading, as Jupyter makes it: blanks become hyphens, capitals stay"
    return re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")


# Chapters

def page_link(target, folder, known, address):
    "A link of a notebook as the site needs it: to a page of the site, or to the file in the repository"
    file, _, heading = target.partition("#")
    if not file or re.match(r"[a-z]+:|/", file):
        return target
    path = Path(os.path.normpath(Path("nbs", folder, file))).as_posix()
    if path in known or path.endswith(".png"):
        return target
    return f"{address}/blob/main/{path}"


def chapter_page(root, path, known):
    "A notebook as a page of the site: no setup, no marks of nbdev, the module's page in its first cell"
    nb, folder, cells, address = book.read(path), path.parent.relative_to(root / "nbs"), [], repository(root)
    module = next((m[1] for c in nb["cells"] for d in directives(book.source(c))
                   if (m := re.match(r"#\s*\|\s*default_exp\s+([\w.]+)", d))), "")
    for cell in nb["cells"]:
        text = book.source(cell)
        if cell["cell_type"] == "code":
            if any(HIDDEN.match(d) for d in directives(text)):
                continue
            text = "\n".join(line for line in text.splitlines() if not DIRECTIVE.match(line)).strip()
        else:
            text = re.sub(r"(\]\(|\bsrc=\"|\bhref=\")([^)\s\"]+)",
                          lambda m: m[1] + page_link(m[2], folder, known, address), text)
        if text:
            cells.append(cell | {"source": text.splitlines(keepends=True)})
    if module:
        cells[0]["source"].append(f"\n\n[`zhrlhf.{module}`](../api/{module}.md)")
    nb["metadata"]["language_info"] = {"name": "python", "pygments_lexer": "python"}
    return nb | {"cells": cells}


def toctree(entries, caption=""):
    "A cell that names the pages below a page, for the navigation"
    lines = ["```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), "", *entries, "```"]
    return {"cell_type": "markdown", "metadata": {}, "id": f"toc-{len(entries)}", "source": "\n".join(lines)}


def write_chapters(root, source, pages):
    "Write the pages of the chapters, with the navigation in the index and the part pages"
    known = {path.relative_to(root).as_posix() for path in pages}
    parts = [p for p in pages if book.is_part_page(p)]
    for path in pages:
        nb, where = chapter_page(root, path, known), path.relative_to(root / "nbs")
        if path in parts:
            nb["cells"].append(toctree([f"{book.number(p)} {book.opening(p)[0]} <{p.stem}>" for p in pages
                                       if p.parent == path.parent and p != path]))
        if path.stem == "index":
            names = [f"{book.opening(p)[0]} ‖ {book.number(p) // 100} {book.PARTS_ZH[book.number(p) // 100][0]} "
                     f"<{p.relative_to(root / 'nbs').with_suffix('').as_posix()}>" for p in parts]
            nb["cells"] += [toctree(["Start here ‖ 英文首页 <self>", "中文首页 <index_zh>"]),
                            toctree(names, "Book ‖ 书"), toctree([f"{API} <api/index>"], "Reference ‖ 参考")]
        (source / where).parent.mkdir(parents=True, exist_ok=True)
        (source / where).write_text(json.dumps(nb, ensure_ascii=False), encoding="utf-8")


# Modules

def prose(text):
    "A docstring as Markdown: what stands outside of backticks means itself"
    parts = re.split(r"(`[^`]*`|\*\*[^*]+\*\*)", text or "")
    return "".join(part if part.startswith(("`", "**")) else re.sub(r"([*_<$|\[\]])", r"\\\1", part) for part in parts)


def directive(kind, signature, body, fence):
    return f"{fence}{{py:{kind}}} {signature}\n\n{body}\n{fence}\n"


def signature_of(node):
    "A function's name with its annotated arguments and result, on one line"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def fields_of(node):
    "The fields of a dataclass as a list: name, type, default, and the help of an option"
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            call = field.value if isinstance(field.value, ast.Call) else None
            option = call is not None and getattr(call.func, "id", "") == "opt"
            default = call.args[0] if option and call.args else field.value
            words = ast.literal_eval(call.args[1]) if option and len(call.args) > 1 and isinstance(
                call.args[1], ast.Constant) else ""
            shown = f" = {ast.unparse(default)}" if default is not None else ""
            yield f"- `{field.target.id}: {ast.unparse(field.annotation)}{shown}`{': ' + prose(words) if words else ''}"


def described(node, link):
    "The text below a signature: docstring, fields, the line in the source"
    fields = "\n".join(fields_of(node)) if isinstance(node, ast.ClassDef) else ""
    return "\n\n".join(filter(None, [prose(ast.get_docstring(node)), fields, f"[source]({link}#L{node.lineno})"]))


def class_text(node, link):
    "A class: its fields and its public methods"
    methods = [directive("method", signature_of(m), described(m, link), "```") for m in node.body
               if isinstance(m, ast.FunctionDef) and not m.name.startswith("_")]
    start = next((m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"), None)
    arguments = re.sub(r"^\w+\(self(?:, )?", "(", signature_of(start)).split(" -> ")[0] if start else ""
    return directive("class", node.name + arguments, described(node, link) + "\n\n" + "\n".join(methods), "````")


def module_page(root, path, chapters):
    "The page of a module: what it is for, its chapter, and everything public in it"
    name = ".".join(path.relative_to(root / "zhrlhf").with_suffix("").parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    link = f"{repository(root)}/blob/main/{path.relative_to(root).as_posix()}"
    chapter = chapters.get(name)
    lines = [f"# {name}", prose(ast.get_docstring(tree)), f"```{{py:module}} zhrlhf.{name}\n```"]
    if chapter:
        title = f"{book.number(chapter)} {book.opening(chapter)[0]}"
        lines.append(f"Chapter [{title}](../{chapter.relative_to(root / 'nbs').as_posix()})")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            lines.append(directive("function", signature_of(node), described(node, link), "```"))
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            lines.append(class_text(node, link))
    return name, "\n\n".join(lines) + "\n"


def undescribed(tree):
    "The public functions and classes of a module without a docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{node.name} has no docstring"


def write_modules(root, source, pages):
    "Write the pages of the modules, and their index by layer"
    chapters = {m[1]: p for p in pages for c in book.read(p)["cells"] for d in directives(book.source(c))
                if (m := re.match(r"#\s*\|\s*default_exp\s+([\w.]+)", d))}
    (source / "api").mkdir(parents=True, exist_ok=True)
    layers = {}
    for path in sorted((root / "zhrlhf").rglob("*.py")):
        if path.name.startswith("_"):
            continue
        name, text = module_page(root, path, chapters)
        (source / "api" / f"{name}.md").write_text(text, encoding="utf-8")
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
        layers.setdefault(name.split(".")[0] if "." in name else "commands", []).append((name, first))
    lines = [f"# {API}", "Every module with its functions and classes, by layer. `zhrlhf.NAME` is imported as it is "
             "written; a chapter explains it."]
    for layer, modules in sorted(layers.items(), key=lambda item: item[0] != "commands"):
        rows = [f"| [{name}]({name}.md) | {prose(first)} |" for name, first in modules]
        lines.append("\n".join([f"## {layer}", "", "| module | what it is for |", "| --- | --- |", *rows]))
    names = [name for modules in layers.values() for name, _ in modules]
    lines.append("\n".join(["```{toctree}", ":hidden:", "", *names, "```"]))
    (source / "api/index.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("names", nargs="*", metavar="NAME")
    names = ask.parse_args().names
    source, order = OUT / "source", book.order(ROOT)
    chosen = {*notebooks(ROOT, names), *(p for p in order if book.is_part_page(p) or p.stem == "index")}
    pages = [p for p in order if p in chosen] + [ROOT / "nbs/index_zh.ipynb"]
    shutil.rmtree(source, ignore_errors=True)
    write_chapters(ROOT, source, pages)
    write_modules(ROOT, source, pages)
    (source / "results").mkdir()
    shutil.copy(ROOT / "nbs/results/tour.png", source / "results/tour.png")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-c", SITE, source, OUT / "html"],
                          env={**os.environ, "ZHRLHF_SITE": repository(), "PYTHONPATH": str(Path(__file__).parent)})
    print(f"{OUT.relative_to(ROOT)}/html/index.html: {len(pages)} pages of the book" if not done.returncode else "failed")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
