"""The set-up cell where the course is not installed, as far as Colab, Kaggle and Binder can be had here.

Each test makes the look of a platform: a fresh environment that is lent the packages of this one but not the course,
the platform's own mark, and a folder that is not the course's. A git repository on this disk answers for the public
address. The lesson that runs to its end is 07, the quickest when hurried: nbval trains it in full. `make test-colab`
runs the same tests on the versions that Colab has.
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
from hurried import HURRIED
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
LESSON = nbformat.read(ROOT / "notebooks" / "07_dattention.ipynb", as_version=4)
SETUP = next(cell.source for cell in LESSON.cells if "setup" in cell.metadata.get("tags", []))
ADDRESS = re.search(r'git\+(https://[^\s"]+)', SETUP)[1]

COURSE = ("attn_lessons", "__editable__")
LACKING_ON_COLAB = ("grad_cam", "pytorch_grad_cam", "ttach")
VARIABLES = {"binder": {"BINDER_SERVICE_HOST": "10.0.0.1"}}
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


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A new environment, made once: it takes seconds, and a copy is as good."""
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def registry(fresh, tmp_path_factory):
    """Where pip finds what it builds the course with."""
    ask = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", tmp_path_factory.mktemp("asked"), "setuptools"]
    if subprocess.run([fresh / "bin" / "python", *ask], capture_output=True).returncode:
        pytest.skip("pip reaches no package registry from here, so nothing can be installed")


@dataclass
class Platform:
    """A Python that was lent everything but the course, and the folder its notebooks run in."""

    python: Path
    lent: Path
    folder: Path
    variables: dict[str, str]

    def run(self, *sources, **variables):
        """Cells with these sources, after they have run in one kernel of this Python."""
        spec = self.folder.parent / "jupyter" / "kernels" / "platform" / "kernel.json"
        spec.parent.mkdir(parents=True, exist_ok=True)
        argv = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "platform", "language": "python"}))
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("PYTHONPATH", raising=False)
            for name, value in {"JUPYTER_PATH": str(spec.parents[2]), **self.variables, **variables}.items():
                patch.setenv(name, value)
            notebook, where = new_notebook(cells=[*map(new_code_cell, sources)]), {"path": str(self.folder)}
            client = NotebookClient(notebook, kernel_name="platform", timeout=600, resources={"metadata": where})
            return client.execute().cells


@pytest.fixture
def platform(request, repository, fresh, tmp_path):
    """The platform of that name. Binder alone has the course: it built the repository before the lesson opened."""
    name = request.param
    lent, own, folder = tmp_path / "lent", tmp_path / "environment", tmp_path / "somewhere else"
    lent.mkdir()
    folder.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(COURSE + (LACKING_ON_COLAB if name == "colab" else ())):
            (lent / entry.name).symlink_to(entry)
    shutil.copytree(fresh, own, symlinks=True)
    paths = [lent]
    if name == "colab":  # its kernel has imported this before the first cell runs
        (tmp_path / "mark" / "google" / "colab").mkdir(parents=True)
        (tmp_path / "mark" / "google" / "colab" / "__init__.py").touch()
        paths += [tmp_path / "mark", "import google.colab"]
    if name == "binder":
        paths += [repository]
    else:
        request.getfixturevalue("registry")
    site_packages = next(own.glob("lib/python*/site-packages"))
    (site_packages / "platform.pth").write_text("".join(f"{path}\n" for path in paths))
    answers = "file:///nowhere" if name == "binder" else repository.as_uri()
    git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{answers}.insteadOf", "GIT_CONFIG_VALUE_0": ADDRESS}
    return Platform(own / "bin" / "python", lent, folder, {**git, **VARIABLES.get(name, {})})


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def expect_the_course(platform, name, again, report):
    """The set-up cell ran again in silence, and this is what a lesson finds then."""
    found = json.loads(printed(report))
    assert printed(again) == ""
    assert HINTS[name] in found["hint"]
    assert Path(found["torch"]).is_relative_to(platform.lent) and Path(found["numpy"]).is_relative_to(platform.lent)

    own = platform.python.parents[1]
    installed = {path.name.split("-")[0] for path in own.glob("lib/python*/site-packages/*.dist-info")}
    expected = {"binder": set(), "colab": {"attn_lessons", "grad_cam", "ttach"}}.get(name, {"attn_lessons"})
    assert installed - {"pip", "setuptools"} == expected
    for what in ("course", "recording", "network"):
        assert Path(found[what]).is_relative_to(own) == (name != "binder")


@pytest.mark.parametrize("platform", ["bare", "binder"], indirect=True)
def test_the_setup_cell_brings_the_course_and_leaves_torch_and_numpy_alone(platform, request):
    name = request.node.callspec.params["platform"]
    _, *after = platform.run(SETUP, SETUP, REPORT)
    expect_the_course(platform, name, *after)
    if name == "bare":  # a notebook opened later; Kaggle is such a machine with a variable of its own
        expect_the_course(platform, "kaggle", *platform.run(SETUP, REPORT, KAGGLE_KERNEL_RUN_TYPE="Interactive"))


@pytest.mark.parametrize("platform", ["colab"], indirect=True)
def test_a_lesson_runs_to_its_end_on_colab(platform):
    sources = [cell.source for cell in LESSON.cells if cell.cell_type == "code"]
    setup = sources.index(SETUP) + 1
    done = platform.run(*sources[:setup], HURRIED, *sources[setup:], SETUP, REPORT)  # raises what a cell raises
    expect_the_course(platform, "colab", *done[-2:])
    assert all(cell.execution_count for cell in done)
    assert not list(platform.folder.iterdir()), "the lesson left something where it was opened"


def test_environment_yml_asks_conda_for_what_the_package_needs_and_for_no_gpu_build():
    project = (ROOT / "pyproject.toml").read_text()
    wanted = re.findall(r'"(.+?)"', re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)[1])
    wanted = {line.replace("torch>", "pytorch-cpu>") for line in wanted}
    listed = set(re.findall(r"^  - (\S+[>=].+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE))
    assert {line for line in wanted - listed if not line.startswith("grad-cam")} == set()  # pip brings that one
    assert {line.split(">")[0] for line in listed - wanted} == {"python=3.12", "jupyterlab"}
