"""Write the public address of the repository wherever a reader clicks it: `make links`.

The address lives in pyproject.toml ([project.urls] Repository) and nowhere else by hand. From there it goes into the
launch badges of every lesson and of the README, and into the pip line of every set-up cell.

    links.py                 write the address of pyproject.toml
    links.py owner/name      change it to https://github.com/owner/name first
    links.py --check         write nothing, list the files that disagree, exit 1 if there are any
"""

import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = re.compile(r'^(Repository\s*=\s*")([^"]*)(")', re.MULTILINE)  # Python 3.10 has no tomllib
BADGES = re.compile(r"(<!-- badges -->).*?(<!-- /badges -->)", re.DOTALL)
PIP_URL = re.compile(r"""git\+https://[^\s"'#@]+""")


def links(address, notebook):
    owner_and_name = address.split("github.com/")[-1]
    file = f"{owner_and_name}/blob/main/notebooks/{notebook}"
    return {
        "Colab": "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{file})",
        "Kaggle": "[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]"
        f"(https://kaggle.com/kernels/welcome?src=https://github.com/{file})",
        "Binder": "[![Launch on Binder](https://mybinder.org/badge_logo.svg)]"
        f"(https://mybinder.org/v2/gh/{owner_and_name}/main?labpath=notebooks%2F{notebook})",
        "GitHub": f"[View on GitHub](https://github.com/{file})",
    }


def with_badges(text, badges):
    """The text with the badges between its markers, None where it has no markers."""
    if not BADGES.search(text):
        return None
    return BADGES.sub(lambda match: f"{match[1]}\n{' '.join(badges)}\n{match[2]}", text, count=1)


def linked_notebook(path, address, problems):
    """The notebook's text with its sources edited; outputs and counts are not touched."""
    text = path.read_text(encoding="utf-8")
    nb = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    before = [cell.source for cell in nb.cells]
    first = next((cell for cell in nb.cells if cell.cell_type == "markdown"), None)
    source = first and with_badges(first.source, links(address, path.name).values())
    if source:
        first.source = source
    else:
        problems.append(f"{path.name}: its first text cell has no <!-- badges --> and <!-- /badges -->")
    setup = [c for c in nb.cells if c.cell_type == "code" and "setup" in c.metadata.get("tags", [])]
    if not any(PIP_URL.search(cell.source) for cell in setup):
        problems.append(f"{path.name}: no code cell tagged `setup` has a git+https:// address")
    for cell in setup:
        cell.source = PIP_URL.sub("git+" + address, cell.source)
    # Where nothing is to be changed, not even the layout of the file counts as a difference.
    return text if before == [cell.source for cell in nb.cells] else nbformat.writes(nb) + "\n"


def wanted(root, owner_and_name):
    """What each file should hold, and what is missing where."""
    pyproject = root / "pyproject.toml"
    settings = pyproject.read_text(encoding="utf-8")
    if owner_and_name:
        settings = ADDRESS.sub(rf"\g<1>https://github.com/{owner_and_name}\g<3>", settings)
    address = ADDRESS.search(settings)[2]
    files, problems = {pyproject: settings}, []
    lessons = sorted((root / "notebooks").glob("*.ipynb"))
    for path in lessons:
        files[path] = linked_notebook(path, address, problems)
    readme = root / "README.md"
    if readme.exists() and lessons:
        badges = links(address, lessons[0].name)
        files[readme] = with_badges(readme.read_text(encoding="utf-8"), [badges["Colab"], badges["Binder"]])
        if files[readme] is None:
            del files[readme]
            problems.append("README.md: it has no <!-- badges --> and <!-- /badges -->")
    return address, files, problems


def main(arguments, root=ROOT):
    check = "--check" in arguments
    names = [argument for argument in arguments if argument != "--check"]
    if len(names) > 1 or not all(re.fullmatch(r"[\w-]+/[\w.-]+", name) for name in names):
        print("links: give the repository as owner/name, for instance `make links REPOSITORY=ada/attn-lessons`.")
        return 1
    address, files, problems = wanted(root, names[0] if names else None)
    different = [path for path, text in files.items() if path.read_text(encoding="utf-8") != text]
    for path in different:
        print(f"{path.relative_to(root)}: {'disagrees with ' + address if check else 'written'}")
        if not check:
            path.write_text(files[path], encoding="utf-8")
    for problem in problems:
        print(problem)
    if not different and not problems:
        print(f"every link names {address}")
    return 1 if problems or (check and different) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
