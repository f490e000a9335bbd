"""The parts that a chapter has, and the chapters that are excused from some of them, each with a reason.

Every chapter has a title and a promise (check `pages`), a Chinese introduction (中文导读) and a Next link (check
`order`). A chapter that is read, not looked up, also has a picture, a displayed formula where its subject has one, a
table of what to vary, 小结, three exercises with solutions that run, and references with links, in this order."""
import json
import re

PARTS = {"formula": "a displayed formula, $$…$$", "picture": "a picture", "vary": "a table under '## What to vary'",
         "summary": "a list under '## 小结'", "exercises": "three numbered questions under '## Exercises'",
         "references": "a link under '## References'"}
SECTIONS = {"vary": r"## What to vary", "summary": r"## 小结", "exercises": r"## Exercises",
            "references": r"## References"}
# Whole parts of the book that are looked up, not read
LOOKED_UP = {9: "an issue of its own replaces its inside", 10: "tools that other chapters stand on"}
# Chapters that are looked up: options, file forms, and the machinery of a command
REFERENCE = set("""guide in_memory rhyme_book couplet_reward row_files messages forms chat_text lengths account sources json_rows
    checkpoints conversion hub registry shipped examples tokenizer_folder opening scorers folder_checks
    training_settings trained inputs rl_settings collector samples run tour_report
    loaders runner report evaluation_settings evaluation workloads machine doctor bench_settings study_tools
    launch_lines recipe_list memory_advice memory published_rows memory_check memory_count peer_works grids grid_cell
    older_tables""".split())
# Subjects without a formula, and without anything to draw
NO_FORMULA = {"results", "ten_lines"}
NO_PICTURE = {"records"}
# Not brought to this form yet. The list only shrinks: a chapter on it that has everything must be taken off.
OPEN = set()
FOLDED = {"jupyter": {"outputs_hidden": True, "source_hidden": True}, "tags": ["solution", "hide-cell"]}
SOLUTION = re.compile(r"(?:# |.*<summary>)Solutions?((?:[ ,]|and|\d)+)", re.S)


def source(cell):
    return "".join(cell["source"])


def name_of(path):
    "The name of a chapter without its number"
    return path.stem.split("_", 1)[-1]


def is_solution(cell):
    return cell["cell_type"] == "code" and source(cell).startswith("# Solution")


def is_read(path):
    "Whether a chapter is one that is read from top to bottom"
    return int(path.parent.name[:2]) not in LOOKED_UP and name_of(path) not in REFERENCE


def sections(cells):
    "{part: (place, text)} of the sections that end a chapter"
    found = {}
    for place, cell in enumerate(cells):
        for part, heading in SECTIONS.items():
            if cell["cell_type"] == "markdown" and re.search(rf"^{heading}\s*$", source(cell), re.M):
                found[part] = (place, re.split(rf"^{heading}\s*$", source(cell), maxsplit=1, flags=re.M)[1])
    return found


def is_picture(output):
    data = output.get("data", {})
    html = "".join(data.get("text/html", ""))
    return any(kind.startswith("image/") for kind in data) or "background" in html or "<svg" in html


def has_part(part, cells, found):
    "Whether the cells of a chapter have one of PARTS"
    text = found.get(part, (0, ""))[1].split("\n## ")[0]
    if part == "formula":
        return any("$$" in source(c) for c in cells if c["cell_type"] == "markdown")
    if part == "picture":
        return any(is_picture(o) for c in cells for o in c.get("outputs", []))
    if part == "exercises":
        return len(re.findall(r"^\d\. ", text, re.M)) == 3
    return bool(re.search({"vary": r"^\|.*\n\| ?-", "summary": r"^[-*] ", "references": r"\]\(https?://"}[part], text, re.M))


def faults_of(path, cells):
    "What a chapter that is read lacks"
    found, name = sections(cells), name_of(path)
    excused = {"formula"} & {"formula" if name in NO_FORMULA else ""} | {"picture" if name in NO_PICTURE else ""}
    yield from (f"lacks {PARTS[part]}" for part in PARTS if part not in excused and not has_part(part, cells, found))
    yield from (f"has {PARTS[part]}; take it off the list in .ci/chapter.py" for part in sorted(excused & set(PARTS))
                if has_part(part, cells, found))
    places = [found[part][0] for part in SECTIONS if part in found]
    if places != sorted(places):
        yield "the order at the end is What to vary, 小结, Exercises, References, Next"
    yield from solution_faults(cells)


def solution_faults(cells):
    "Exercises without a solution, solutions that do not run or are not folded"
    solved, running = set(), 0
    for cell in cells:
        said = SOLUTION.match(source(cell))
        if said:
            solved |= set(re.findall(r"\d", said[1]))
        if is_solution(cell):
            running += bool(re.search(r"\b(assert|test_\w+)\b", source(cell)))
            if cell["metadata"] != FOLDED:
                yield "a solution is not folded; make sync"
    if solved != {"1", "2", "3"}:
        yield "each of the exercises 1 to 3 needs its solution, a cell that begins '# Solution 1' or a <details>"
    if running < 2:
        yield "two solutions at least must be code that asserts the answer"


def chapter_faults(path):
    "What is wrong with the form of one chapter"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    if not any("中文导读" in source(c) for c in cells if c["cell_type"] == "markdown"):
        yield "lacks 中文导读"
    if is_read(path):
        faults = list(faults_of(path, cells))
        if name_of(path) not in OPEN:
            yield from faults
        elif not faults:
            yield "has every part of a chapter now; take it off the list OPEN in .ci/chapter.py"


def fold(cells):
    "Give the solutions the metadata that folds them"
    for cell in filter(is_solution, cells):
        cell["metadata"] = json.loads(json.dumps(FOLDED))
