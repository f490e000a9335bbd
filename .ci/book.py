"""The order of the book, and what follows from it.

`book.py` writes the Next links, the tables of the part pages, and the reading paths of nbs/index.ipynb. `make sync`
runs it, `check.py` says where a page differs.

A part is a folder nbs/NN_name. Its page has the number of the part times 100, its chapters have the numbers after that:
a number is unique in the whole book and tells the part. A companion NNN_name_tests.ipynb belongs to the chapter of its
number and is not read in order."""
import json
import re
from os.path import relpath
from pathlib import Path

import chapter

ROOT = Path(__file__).resolve().parent.parent
WORDS, HAN, LINES = 200, 350, 30     # read in a minute: English words, Chinese characters, lines of code
PATHS = {"one hour": "101 102 410 504 508 103",
         "one day": "101 102 103 104 201 203 208 401 406 409 410 500 501 502 504 505 506 507 508 516 519 520 521 608",
         "one week": "every chapter of parts 1 to 8, in order; part 9 when you have raw corpora, part 10 when you "
         "look something up"}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def number(path):
    "The number at the beginning of a notebook's name, None if it has none"
    found = re.match(r"(\d{3,4})_", path.stem)
    return int(found[1]) if found else None


def order(root):
    "All pages in reading order: the index, then each part's page and chapters"
    pages = [p for p in sorted((root / "nbs").glob("[0-9][0-9]_*/*.ipynb")) if not p.stem.endswith("_tests")
             and number(p) is not None]
    return [root / "nbs/index.ipynb", *sorted(pages, key=number)]


def is_part_page(path):
    return number(path) is not None and number(path) % 100 == 0


def opening(path):
    "(title, promise) of a page, from its first cell"
    lines = source(read(path)["cells"][0]).splitlines()
    return lines[0].removeprefix("# "), next((line.removeprefix("> ") for line in lines if line.startswith("> ")), "")


def minutes(path):
    "About how long a page takes to read; hidden cells and the last cell are not counted"
    text = code = han = 0
    for cell in read(path)["cells"]:
        lines = source(cell)
        if cell["cell_type"] == "markdown":
            han += len(re.findall(r"[\u4e00-\u9fff]", lines))
            text += len(re.findall(r"[A-Za-z]+", lines))
        elif not re.match(r"#\s*\|\s*hide\b", lines):
            code += len(lines.splitlines())
    return max(1, round(text / WORDS + han / HAN + code / LINES))


def link(here, there, label=None):
    return f"[{label or opening(there)[0]}]({relpath(there, here.parent)})"


def next_cell(here, there):
    tests = here.with_stem(f"{here.stem}_tests")
    more = f" (What else must hold here is tested in {link(here, tests, tests.stem)}.)" if tests.exists() else ""
    return f"**Next:** {link(here, there)}. {opening(there)[1]}{more}"


def part_table(page, chapters):
    "The table of a part page: number, chapter, what it shows, minutes"
    rows = [f"| {number(c)} | {link(page, c)} | {opening(c)[1].replace('|', chr(92) + '|')} | {minutes(c)} |"
            for c in chapters]
    return "\n".join(["| | chapter | what it shows | minutes |", "| --- | --- | --- | --- |", *rows])


def paths_table(index, pages):
    "The reading paths of the index: time, chapters in order, minutes by the count of `minutes`"
    known, rows = {number(p): p for p in pages}, []
    for name, way in PATHS.items():
        named = [known[int(n)] for n in way.split()] if way[0].isdigit() else []
        shown = " → ".join(link(index, c, f"{number(c)} {c.stem.split('_', 1)[1].replace('_', ' ')}")
                           for c in named) or way
        chapters = named or [p for n, p in known.items() if n and n < 900]
        rows.append(f"| {name} | {shown} | {sum(map(minutes, chapters))} |")
    return "\n".join(["| time | chapters | minutes of reading |", "| --- | --- | --- |", *rows])


def parts_table(index, pages):
    "The parts of the book: page, question, number of chapters"
    rows = []
    for page in filter(is_part_page, pages):
        chapters = [p for p in pages if p.parent == page.parent and p != page]
        rows.append(f"| {link(index, page)} | {opening(page)[1]} | {len(chapters)} |")
    return "\n".join(["| part | the question it answers | chapters |", "| --- | --- | --- |", *rows])


def wanted(root):
    "{page: [(how a cell begins, its whole text), …]}: every cell that follows from the order"
    pages, found = order(root), {}
    for here, there in zip(pages, [*pages[1:], None]):
        cells = [("**Next:**", next_cell(here, there))] if there else []
        if is_part_page(here):
            cells.append(("| | chapter |",
                          part_table(here, [p for p in pages if p.parent == here.parent and p != here])))
        if here.stem == "index":
            cells += [("| time |", paths_table(here, pages)), ("| part |", parts_table(here, pages))]
        found[here] = cells
    return found


def main(root=ROOT):
    for path, cells in wanted(root).items():
        nb = read(path)
        chapter.fold(nb["cells"])
        for begin, text in cells:
            for cell in nb["cells"]:
                if cell["cell_type"] == "markdown" and source(cell).startswith(begin):
                    cell["source"] = text.splitlines(keepends=True)
        path.write_text(json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
