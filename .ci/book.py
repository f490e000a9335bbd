"""The order of the book, and what follows from it.

`book.py` writes the Next links, the tables of the part pages, and the reading paths of nbs/index.ipynb and, in Chinese,
of nbs/index_zh.ipynb. `make sync` runs it, `check.py` says where a page differs.

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
PATHS_ZH = {"one hour": "一小时", "one day": "一天",
            "one week": "第 1 至 8 部分，按顺序读完；手上有原始语料再读第 9 部分，第 10 部分供查阅"}
NAMES_ZH = {101: "初次上手", 102: "一个笔记本讲完 RLHF", 410: "监督微调", 504: "奖励模型", 508: "损失函数", 103: "实测结果"}
PARTS_ZH = {1: ("开始", "几分钟之内从头看到尾：RLHF 让模型发生了什么变化？"),
            2: ("数据", "中文文本怎样变成模型读取的词元编号？"),
            3: ("模型", "盘古、GLM、ChatGLM 内部是什么样，各个模型族怎样共用一套接口？"),
            4: ("训练", "五十行的训练循环怎样服务所有阶段，进程被杀之后又怎样精确地接着训练？"),
            5: ("RLHF", "人的偏好怎样变成奖励，奖励又怎样变成更好的策略？"),
            6: ("研究", "学来的奖励能信到什么程度？换成真实训练过的模型，结果如何？"),
            7: ("评测", "模型到底会什么，这个分数有多可靠？"),
            8: ("规模", "换到多进程和 GPU 上有哪些不同，每个阶段要花多少时间和显存？"),
            9: ("语料", "六个杂乱的中文语料怎样变成干净的记录，并且每一条被丢弃的数据都有账可查？"),
            10: ("工具", "其他章节都用到哪些小工具？")}


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
    "The reading paths of the index: time, chapters in order (by number, where they are many), minutes by `minutes`"
    known, rows, chinese = {number(p): p for p in pages}, [], index.stem.endswith("_zh")
    for name, way in PATHS.items():
        named = [known[int(n)] for n in way.split()] if way[0].isdigit() else []

        def label(c):
            words = NAMES_ZH.get(number(c), "") if chinese else c.stem.split("_", 1)[1].replace("_", " ")
            return f"{number(c)} {words}".strip() if len(named) < 10 else str(number(c))
        shown = " → ".join(link(index, c, label(c)) for c in named) or (PATHS_ZH[name] if chinese else way)
        chapters = named or [p for n, p in known.items() if n and n < 900]
        time = (PATHS_ZH[name] if named else "一周") if chinese else name
        rows.append(f"| {time} | {shown} | {sum(map(minutes, chapters))} |")
    head = "| 时间 | 章节 | 阅读分钟数 |" if chinese else "| time | chapters | minutes of reading |"
    return "\n".join([head, "| --- | --- | --- |", *rows])


def parts_table(index, pages):
    "The parts of the book: page, question, number of chapters"
    rows, chinese = [], index.stem.endswith("_zh")
    for page in filter(is_part_page, pages):
        chapters = [p for p in pages if p.parent == page.parent and p != page]
        part = int(page.parent.name[:2])
        name, question = PARTS_ZH[part] if chinese else opening(page)
        label = f"第 {part} 部分：{name}" if chinese else name
        rows.append(f"| {link(index, page, label)} | {question} | {len(chapters)} |")
    head = "| 部分 | 它回答的问题 | 章数 |" if chinese else "| part | the question it answers | chapters |"
    return "\n".join([head, "| --- | --- | --- |", *rows])


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
    chinese = root / "nbs/index_zh.ipynb"
    if chinese.exists():
        found[chinese] = [("| 时间 |", paths_table(chinese, pages)), ("| 部分 |", parts_table(chinese, pages))]
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
