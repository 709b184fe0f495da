"""`make` on a bare machine: whatever is wrong, the person reads one sentence, and the next call goes on from there.

A copy of the script runs in a temporary folder. The real `venv` and `pip` are used; `uv` is a stand-in from a local
folder, so nothing is downloaded.
"""

import ast
import collections
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "tools" / "setup.py"
# Says what it was asked; FAKE_UV makes it wait or fail with what the real uv prints.
FAKE_UV = """#!python
import os, sys, time
print("fake uv", *sys.argv[1:], flush=True)
open("uv-called", "a").write(" ".join(sys.argv[1:]) + chr(10))
trouble = os.environ.get("FAKE_UV", "")
if trouble.startswith("wait"):
    time.sleep(float(trouble.split()[1]))
elif trouble:
    sys.exit(trouble)
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """A folder with a wheel named uv that holds the stand-in."""
    folder = tmp_path_factory.mktemp("wheels")
    info = "uv-9.9.dist-info/"
    with zipfile.ZipFile(folder / "uv-9.9-py3-none-any.whl", "w") as wheel:
        script = zipfile.ZipInfo("uv-9.9.data/scripts/uv")
        script.external_attr = 0o100755 << 16  # pip keeps the executable bit, it does not set it
        wheel.writestr(script, FAKE_UV)
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 9.9\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "")
    return folder


@pytest.fixture(scope="session")
def installed(wheels, tmp_path_factory):
    """One finished install, copied by the tests that begin with one (making a .venv takes seconds)."""
    project = copy_project(tmp_path_factory.mktemp("installed"))
    return project, call(project, wheels)


@pytest.fixture
def project(tmp_path):
    return copy_project(tmp_path)


def copy_project(folder):
    (folder / "tools").mkdir()
    shutil.copy(SCRIPT, folder / "tools")
    (folder / "requirements.txt").write_text("six==1.17.0\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    return folder


def copy_install(installed, folder):
    """A copy lies in another folder, so the script finds that it has to be updated."""
    project = copy_project(folder)
    shutil.copytree(installed[0] / ".venv", project / ".venv", symlinks=True)
    return project


def start(project, wheels=None, **settings):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "VIRTUAL_ENV"))}
    env.update(PIP_CONFIG_FILE=os.devnull, **settings)
    if wheels:
        env.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
    command = [sys.executable, "tools/setup.py"]
    return subprocess.Popen(command, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def call(project, wheels=None, **settings):
    process = start(project, wheels, **settings)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def load(project):
    spec = importlib.util.spec_from_file_location("setup_script", project / "tools" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_venv(project, *files):
    """A .venv as an earlier call may have left it, without the cost of a real one."""
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for name, text in files:
        (project / ".venv" / name).write_text(text)
    return project / ".venv"


def run_main(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["setup.py"])
    code = module.main()
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def assert_one_sentence(err, *words):
    assert err.startswith("setup: ") and err.count("\n") == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err


def test_an_old_python_can_parse_it():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))
    assert "with (" not in SCRIPT.read_text()  # what the formatter makes of a long `with`, unknown to 3.6


def test_an_old_python_is_told_what_is_needed(project):
    with pytest.raises(Exception, match=r"this is Python 3\.6\.15, the course needs 3\.10.*make lab PYTHON=python3"):
        load(project).check_python((3, 6, 15))


def test_a_python_without_ensurepip_is_told_the_command(project):
    with pytest.raises(Exception, match=r"sudo apt install python3\.12-venv"):
        load(project).check_python((3, 12, 1), has_ensurepip=False)


def test_install_then_nothing_to_do(installed, monkeypatch, capsys):
    project, (code, out, err) = installed
    assert (code, err) == (0, ""), out + err
    assert (project / ".venv" / ".attn-lessons-ready").exists()
    assert not (project / ".venv" / ".attn-lessons-unfinished").exists()
    calls = (project / "uv-called").read_text().splitlines()
    assert "--compile-bytecode -r requirements.txt" in calls[0]
    assert "--no-deps --no-build-isolation -e ." in calls[1]
    assert "fake uv" in (project / ".venv" / "install.log").read_text()
    assert call(project) == (0, "", "")
    module = load(project)
    monkeypatch.setattr(module.subprocess, "Popen", None)  # it returns at once: no other program is started
    assert run_main(module, monkeypatch, capsys) == (0, "", "")


def test_changed_requirements_update_in_place(installed, tmp_path):
    project = copy_install(installed, tmp_path)
    (project / ".venv" / "kept").touch()
    code, out, err = call(project, FAKE_UV="error: No space left on device (os error 28)")
    assert code == 1 and "updating .venv" in out
    assert_one_sentence(err, "the disk is full", "GB")
    code, out, err = call(project, FAKE_UV="error: something nobody foresaw")  # cut short: updated again, not rebuilt
    assert code == 1 and "updating .venv" in out
    assert "something nobody foresaw" in err and "install.log" in err and "Traceback" not in err
    assert call(project)[0] == 0
    assert (project / ".venv" / "kept").exists()
    assert call(project) == (0, "", "")


def test_no_network(installed, tmp_path):
    project = copy_install(installed, tmp_path)
    (project / ".venv" / "bin" / "uv").unlink()  # so that pip has to fetch it
    shutil.rmtree(next((project / ".venv").glob("lib/python*/site-packages/uv-*.dist-info")))
    nowhere = "http://127.0.0.1:9/simple"
    code, out, err = call(project, PIP_INDEX_URL=nowhere, PIP_NO_COLOR="1")
    assert code == 1
    assert_one_sentence(err, "network", "run the same command again")
    assert "Connection refused" in out  # what pip says is shown too


def test_uv_is_told_pips_index(project, monkeypatch):
    module = load(project)
    make_venv(project)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "7")
    for name in ("UV_DEFAULT_INDEX", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    env = module.environment()
    assert env["UV_DEFAULT_INDEX"] == "http://127.0.0.1:9/simple"
    assert env["PIP_RETRIES"] == "7"
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_RETRIES")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:8/simple")
    env = module.environment()
    assert (env["PIP_TIMEOUT"], env["PIP_RETRIES"]) == ("15", "1")  # nobody waits for minutes without a network
    assert env["UV_DEFAULT_INDEX"] == "http://127.0.0.1:8/simple"


def test_half_made_venv_is_begun_afresh(project, monkeypatch, capsys):
    venv = make_venv(project, (".attn-lessons-unfinished", ""), ("pyvenv.cfg", "broken"), (".attn-lessons-ready", "x"))
    module = load(project)
    monkeypatch.setattr(module, "check_space", lambda: None)
    monkeypatch.setattr(module, "run", lambda *command, env=None: make_venv_files(venv, command))
    monkeypatch.setattr(module, "environment", dict)
    code, out, err = run_main(module, monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert out.startswith("An earlier install was cut short or failed: starting again.\n")
    assert not (venv / "pyvenv.cfg").exists() and not (venv / ".attn-lessons-unfinished").exists()
    assert (venv / ".attn-lessons-ready").exists()


def make_venv_files(venv, command):
    if "venv" in command:
        assert (venv / ".attn-lessons-unfinished").exists()  # the marker comes first
        (venv / "bin").mkdir()
        (venv / "bin" / "python").symlink_to(sys.executable)


def test_foreign_venv_is_not_touched(project):
    venv = make_venv(project, ("theirs.txt", "precious"))
    before = sorted(venv.rglob("*"))
    code, out, err = call(project)
    assert (code, out) == (1, "")
    assert_one_sentence(err, ".venv was not made by this course", "move it away")
    assert sorted(venv.rglob("*")) == before


def test_clean_removes_only_what_is_ours(project, monkeypatch):
    module = load(project)
    venv = make_venv(project, ("theirs.txt", "precious"))
    module.remove()
    assert (venv / "theirs.txt").exists()
    (venv / ".attn-lessons-unfinished").touch()
    module.remove()
    assert not venv.exists()


def test_no_space(project, monkeypatch, capsys):
    module = load(project)
    usage = collections.namedtuple("usage", "total used free")(10e9, 9e9, 1e9)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    code, out, err = run_main(module, monkeypatch, capsys)
    assert (code, out) == (1, "")
    assert_one_sentence(err, f"about {module.NEEDED_GB} GB", "only 1.0 GB are free")
    assert not (project / ".venv").exists()


def test_a_disk_that_fills_up_meanwhile(project, monkeypatch, capsys):
    module = load(project)

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "begin", full)
    code, _, err = run_main(module, monkeypatch, capsys)
    assert code == 1
    assert_one_sentence(err, "the disk is full")


@pytest.mark.skipif(os.name == "nt", reason="no flock on Windows")
def test_second_call_waits_and_ctrl_c_is_one_sentence(installed, tmp_path):
    project = copy_install(installed, tmp_path)
    first = start(project, FAKE_UV="wait 30")
    assert "updating" in first.stdout.readline()
    while "fake uv" not in first.stdout.readline():
        pass
    second = start(project)
    assert second.stdout.readline() == "Another call is preparing .venv: waiting for it to finish.\n"
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130
    assert_one_sentence(err, "interrupted; the next call goes on where it can.")
    out, err = second.communicate(timeout=60)
    assert (second.returncode, err) == (0, "") and "Ready: .venv" in out
