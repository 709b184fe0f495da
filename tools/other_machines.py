"""Run the lessons as other machines would: `make other-machines`, or `make other-machines ONLY="02_se 04_eca" SEEDS=3`.

Two machines round differently, and a training amplifies that. So every lesson runs through nbval

- SEEDS times (20 if not said) with the first weights of its trainings disturbed by 1 part in a million, and
- on the instruction sets that older processors have, SSE4.1 and AVX2.

The lessons are not edited: a start-up file of IPython imports disturbed.py, which does it. Prints a line per run, and
at the end the claims whose margin is less than four standard deviations over the disturbed runs. Exits with 1 if a run
failed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev

from notebooks import LessonError, choose

ROOT = Path(__file__).resolve().parent.parent
DISTURBED = Path(__file__).with_name("disturbed.py")
SETTINGS = {
    "SSE4.1": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
SAFE = 4  # standard deviations
COLOR = re.compile(r"\x1b\[[\d;]*m")
FAILED_CELL = re.compile(r"^FAILED .*::(Cell \d+)", re.M)
REASON = re.compile(r"^\w+(?:Error|Exception): .+", re.M)


def run(path, setting, environment):
    """One lesson on one kind of machine: passed or not, what failed, and the margins of its claims."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        startup, margins = Path(folder, "ipython", "profile_default", "startup"), Path(folder, "margins")
        startup.mkdir(parents=True)
        shutil.copy(DISTURBED, folder)
        (startup / "start.py").write_text("__import__('disturbed')\n")  # leaves no name in the lesson
        own = {"IPYTHONDIR": str(startup.parents[1]), "PYTHONPATH": folder, "DISTURBED_MARGINS": str(margins)}
        command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-qrf", "-p", "no:cacheprovider", str(path)]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | own | environment, capture_output=True, text=True)
        lines = margins.read_text(encoding="utf-8").splitlines() if margins.exists() else []
    said = "passed" if done.returncode == 0 else f"FAILED: {reasons(done.stdout) or (done.stdout + done.stderr)[-500:]}"
    print(f"{path.stem:<28} {setting:<14} {time.monotonic() - started:4.0f} s  {said}", flush=True)
    return path.stem, setting, done.returncode == 0, [json.loads(line) for line in lines]


def reasons(printed):
    """Which cells failed, and each error in a line of its own, from what pytest printed."""
    printed = COLOR.sub("", printed)
    return "\n    ".join([", ".join(FAILED_CELL.findall(printed)), *dict.fromkeys(REASON.findall(printed))])


def main(names, folder=ROOT / "notebooks"):
    try:
        lessons, seeds = choose(names, folder), int(os.environ.get("SEEDS") or 20)
    except (LessonError, ValueError) as error:
        print(error)
        return 1
    settings = SETTINGS | {f"disturbed {seed}": {"DISTURBED_SEED": str(seed)} for seed in range(1, seeds + 1)}
    # A lesson takes half of the cores, so two at a time fill the machine.
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(run, path, name, more) for name, more in settings.items() for path in lessons]
        results = [job.result() for job in jobs]
    print()
    for path in lessons:
        own = [(setting, passed) for lesson, setting, passed, _ in results if lesson == path.stem]
        disturbed = [passed for setting, passed in own if setting not in SETTINGS]
        other = ", ".join(
            f"{setting} {'passed' if passed else 'FAILED'}" for setting, passed in own if setting in SETTINGS
        )
        print(f"{path.stem:<28} {sum(disturbed)} of {len(disturbed)} disturbed runs passed; {other}")
        for claim, distance in close_calls(path.stem, results):
            print(f"    {distance:5.1f} sd  {claim}")
    return 0 if all(passed for _, _, passed, _ in results) else 1


def close_calls(lesson, results):
    """(claim, its mean margin in standard deviations) of the claims that another machine may break."""
    margins = defaultdict(list)
    for name, setting, _, rows in results:
        if name == lesson and setting not in SETTINGS:
            for claim in dict.fromkeys(row["claim"] for row in rows):  # in a loop, the closest counts
                margins[claim].append(min(row["margin"] for row in rows if row["claim"] == claim))
    spread = {claim: stdev(values) for claim, values in margins.items() if len(values) > 1}
    distances = {claim: mean(margins[claim]) / sd for claim, sd in spread.items() if sd}
    return sorted(((c, d) for c, d in distances.items() if d < SAFE), key=lambda pair: pair[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
