"""docs/your_network.md: its code runs as it stands, and prints what it says."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "your_network.md").read_text(encoding="utf-8")


def test_the_page_runs_and_prints_what_it_says():
    code = "".join(re.findall(r"```python\n(.*?)```", PAGE, re.S)).replace('weights="IMAGENET1K_V1"', "")  # offline
    said = StringIO()
    with redirect_stdout(said):
        exec(compile(code, "your_network.md", "exec"), {})
    assert said.getvalue() == "".join(re.findall(r"```text\n(.*?)```", PAGE, re.S))
    added, of_all = re.search(r"add ([\d,]+) parameters \(([\d.]+) %\)", PAGE).groups()
    assert added == f"{11_777_352 - 11_689_512:,}" and of_all == f"{100 * 87_840 / 11_689_512:.2f}"
