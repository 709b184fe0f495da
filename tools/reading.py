"""How long a lesson takes to read, and which words it should not use: `make reading`.

Prose outside folded hints and solutions, also what a cell says, counts at 130 words a minute, a shown line of code 7
seconds, a figure 30 seconds, a prediction a minute, an exercise what it states, the quiz 4 minutes. The core of a
lesson is what comes before the cell tagged `deeper`.
"""

import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
FOLDED = {"setup", "check", "claims", "exercise", "hide-input"}
DEEPER = re.compile(r"(?m)^(### .*) \(\S+ min\)$")
CODE = re.compile(r"(?s)```python\n(.*?)```")
LINK = re.compile(r"\[?!?\[[^\]]*\]\([^)]*\)(\]\([^)]*\))?")
AVOID = {  # what the field says otherwise
    "picture": r"\bpictures?\b",
    "place": r"(?<!-)\bplaces?\b",
    "arm": r"\barms?\b",
    "share": r"\bshares?\b",
    "decoy": r"\bdecoys?\b",
    "behind": r"\bbehind\b",
    "in front of": r"\bin front of\b",
    "anew": r"\banew\b",
    "hear": r"\b(hears?|heard|hearing)\b",
    "votes": r"\bvotes?\b",
    "way back": r"\bway back\b",
    "luck": r"\bluck\b",
    "window": r"\bwindows?\b",
    "a for per": r"\b(one|two) \w+ a (channel|run|seed|lesson|picture|image|place|row)\b",
    "popular": r"\bpopular\b",
    "is none": r"\bis none\b|\bare others\b",
    "mend": r"\bmends?\b",
}


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def lines(cell) -> int:
    """How many lines of code a reader sees."""
    shown = (
        cell.cell_type == "code"
        and not FOLDED & tags(cell)
        and not cell.metadata.get("jupyter", {}).get("source_hidden")
    )
    return sum(bool(line.strip()) for line in cell.source.splitlines()) if shown else 0


def words(text: str) -> int:
    return len(re.findall(r"\w+", LINK.sub(" ", text)))


def minutes_of(cell) -> float:
    if cell.cell_type == "markdown":
        if tags(cell) & {"hint", "solution", "references"}:
            return 0.0
        stated = re.findall(r"(\d+) minutes", cell.source) if "exercise" in tags(cell) else []
        return words(cell.source) / 130 + sum(map(int, stated)) + ("predict" in tags(cell))
    shown = [output.get("data", {}) for output in cell.outputs]
    figures = sum("image/png" in data for data in shown)
    said = "\n".join("".join(data.get("text/markdown", "")) for data in shown)  # of lesson.say and lesson.show_code
    code = CODE.findall(said)
    code_lines = lines(cell) + sum(bool(line.strip()) for block in code for line in block.splitlines())
    return code_lines * 7 / 60 + words(CODE.sub("", said)) / 130 + figures / 2 + 4 * ("quiz" in tags(cell))


def core(lesson) -> list:
    """The cells before the one tagged `deeper`."""
    deeper = next((i for i, cell in enumerate(lesson.cells) if "deeper" in tags(cell)), len(lesson.cells))
    return lesson.cells[:deeper]


def minutes(lesson) -> tuple[float, float]:
    """Of the core, and of everything."""
    return sum(map(minutes_of, core(lesson))), sum(map(minutes_of, lesson.cells))


def words_to_avoid(lesson) -> dict[str, int]:
    prose = " ".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    found = {word: len(re.findall(pattern, prose, re.I)) for word, pattern in AVOID.items()}
    return {word: count for word, count in found.items() if count}


def state_time(lesson) -> None:
    """Write the minutes, to five, into header and metadata, and at each heading below *Going deeper* its own."""
    below = 0.0
    for cell in reversed(lesson.cells[len(core(lesson)) :]):  # a section is read after its heading
        parts = re.split(r"(?m)^(?=### )", cell.source) if cell.cell_type == "markdown" else [cell.source]
        per_word = minutes_of(cell) / max(1, words(cell.source))
        for i, part in reversed([*enumerate(parts)]):  # a cell may end one section and begin the next
            below += per_word * words(part)
            if cell.cell_type == "markdown" and DEEPER.search(part):
                parts[i] = DEEPER.sub(rf"\1 ({max(1, round(below))} min)", part)
                below = 0.0
        cell.source = "".join(parts)
    for cell in lesson.cells:
        if "objectives" in tags(cell) and "**Time** core" in cell.source:
            first, everything = (5 * round(m / 5) for m in minutes(lesson))
            stated = f"**Time** core {first} min, all {everything} min"
            cell.source = re.sub(r"\*\*Time\*\* core \S+ min, all \S+ min", stated, cell.source)
            lesson.metadata.attn_lessons.update({"core": first, "minutes": everything})


def main(names: list[str]) -> int:
    for path in map(Path, names) if names else sorted((ROOT / "notebooks").glob("*.ipynb")):
        lesson = nbformat.read(path, as_version=4)
        first, everything = minutes(lesson)
        avoid = ", ".join(f"{word} {count}" for word, count in words_to_avoid(lesson).items()) or "none"
        shown = f"{sum(map(lines, core(lesson))):3} lines shown"
        print(f"{path.stem:<28} core {first:3.0f} min, all {everything:3.0f} min, {shown}; to avoid: {avoid}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
