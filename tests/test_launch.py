"""The set-up cell where the course is not installed, as far as Colab, Kaggle and Binder can be had here.

Each test makes the look of a platform: a fresh environment that is lent the packages of this one but not the course,
the platform's own mark, and a folder that is not the course's. A git repository on this disk answers for the public
address. `make test-colab` runs the same tests on the versions that Colab has.
"""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
LESSON = nbformat.read(ROOT / "notebooks" / "02_se.ipynb", as_version=4)
SETUP = next(cell.source for cell in LESSON.cells if "setup" in cell.metadata.get("tags", []))
ADDRESS = re.search(r'git\+(https://[^\s"]+)', SETUP)[1]

COURSE = ("attn_lessons", "__editable__")
LACKING_ON_COLAB = ("grad_cam", "pytorch_grad_cam", "ttach")
VARIABLES = {"kaggle": {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "binder": {"BINDER_SERVICE_HOST": "10.0.0.1"}}
HINTS = {"colab": "Runtime", "kaggle": "Accelerator", "binder": "Binder has none", "bare": "badge at the top"}
REPORT = """
import json, attn_lessons, numpy, torch
from attn_lessons import results
from attn_lessons.lesson.begin import gpu_hint
found = dict(course=attn_lessons, numpy=numpy, torch=torch)
found = {name: module.__file__ for name, module in found.items()}
found["recording"] = str(results.find("recording", "*.csv", "glyphworld_gates"))
found["network"] = str(results.find("network", "networks/*.safetensors", "glyphworld_key_se"))
print(json.dumps(dict(found, hint=gpu_hint())))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The working tree as it is now, committed to a repository of its own."""

    def git(*arguments, folder):
        who = ["-c", "user.name=A test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout

    copy = tmp_path_factory.mktemp("public") / "attn-lessons"
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    git("init", "--quiet", folder=copy)
    git("add", "--all", folder=copy)
    git("commit", "--quiet", "--message=The course", folder=copy)
    return copy


@dataclass
class Platform:
    """A Python that was lent everything but the course, and the folder its notebooks run in."""

    python: Path
    lent: Path
    folder: Path

    def run(self, notebook):
        """Run the notebook from the top in a kernel of this Python."""
        spec = self.folder.parent / "jupyter" / "kernels" / "platform" / "kernel.json"
        spec.parent.mkdir(parents=True, exist_ok=True)
        argv = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "platform", "language": "python"}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JUPYTER_PATH", str(spec.parents[2]))
            place = {"metadata": {"path": str(self.folder)}}
            return NotebookClient(notebook, kernel_name="platform", timeout=600, resources=place).execute()

    def report(self):
        """Run the set-up cell twice: what it printed, and what a lesson finds then."""
        cells = [new_code_cell(source) for source in (SETUP, SETUP, REPORT)]
        done = self.run(new_notebook(cells=cells)).cells
        *printed, report = ["".join(output.get("text", "") for output in cell.outputs) for cell in done]
        return printed, json.loads(report)


@pytest.fixture
def platform(request, repository, tmp_path, monkeypatch):
    """The platform of that name. Binder alone has the course: it built the repository before the lesson opened."""
    name = request.param
    lent, own, folder = tmp_path / "lent", tmp_path / "environment", tmp_path / "somewhere else"
    lent.mkdir()
    folder.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(COURSE + (LACKING_ON_COLAB if name == "colab" else ())):
            (lent / entry.name).symlink_to(entry)
    subprocess.run([sys.executable, "-m", "venv", own], check=True)
    paths = [lent]
    if name == "colab":  # its kernel has imported this before the first cell runs
        (tmp_path / "mark" / "google" / "colab").mkdir(parents=True)
        (tmp_path / "mark" / "google" / "colab" / "__init__.py").touch()
        paths += [tmp_path / "mark", "import google.colab"]
    if name == "binder":
        paths += [repository]
    site_packages = next(own.glob("lib/python*/site-packages"))
    (site_packages / "platform.pth").write_text("".join(f"{path}\n" for path in paths))

    python = own / "bin" / "python"
    if name != "binder":
        ask = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", tmp_path / "asked", "setuptools"]
        if subprocess.run(ask, capture_output=True).returncode:
            pytest.skip("pip reaches no package registry from here, so nothing can be installed")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for variable, value in VARIABLES.get(name, {}).items():
        monkeypatch.setenv(variable, value)
    answers = "file:///nowhere" if name == "binder" else repository.as_uri()
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{answers}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", ADDRESS)
    return Platform(python, lent, folder)


@pytest.mark.parametrize("platform", HINTS, indirect=True)
def test_the_setup_cell_brings_the_course_and_leaves_torch_and_numpy_alone(platform, request):
    name = request.node.callspec.params["platform"]
    (_, again), found = platform.report()
    assert again == ""
    assert HINTS[name] in found["hint"]
    assert Path(found["torch"]).is_relative_to(platform.lent) and Path(found["numpy"]).is_relative_to(platform.lent)

    own = platform.python.parents[1]
    installed = {path.name.split("-")[0] for path in own.glob("lib/python*/site-packages/*.dist-info")}
    expected = {"binder": set(), "colab": {"attn_lessons", "grad_cam", "ttach"}}.get(name, {"attn_lessons"})
    assert installed - {"pip", "setuptools"} == expected
    for what in ("course", "recording", "network"):
        assert Path(found[what]).is_relative_to(own) == (name != "binder")


@pytest.mark.parametrize("platform", ["colab"], indirect=True)
def test_lesson_02_runs_to_its_end_on_colab(platform):
    lesson = nbformat.from_dict(LESSON)
    done = platform.run(lesson)  # raises what the first failing cell raised
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")
    assert not list(platform.folder.iterdir()), "the lesson left something where it was opened"


def test_environment_yml_asks_conda_for_what_the_package_needs_and_for_no_gpu_build():
    project = (ROOT / "pyproject.toml").read_text()
    wanted = re.findall(r'"(.+?)"', re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)[1])
    wanted = {line.replace("torch>", "pytorch-cpu>") for line in wanted}
    asked = set(re.findall(r"^  - (\S+[>=].+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE))
    assert {line for line in wanted - asked if not line.startswith("grad-cam")} == set()  # pip brings that one
    assert {line.split(">")[0] for line in asked - wanted} == {"python=3.12", "jupyterlab"}
