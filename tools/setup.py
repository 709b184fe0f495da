"""Make .venv ready: `make` runs this before every target that needs the environment.

Standard library only. It must parse on Python 3.6, so that an old Python is told what is needed instead of stopping at
a SyntaxError. Whatever goes wrong, the reader sees one sentence that says what to do next, never a traceback.

Two files in .venv say how far it got. `.attn-lessons-unfinished` is written first and removed last, so an install cut
short at any moment is recognised and begun again. `.attn-lessons-ready` holds a hash of what was installed and the
version of the Python that .venv was made with; while the hash matches, a call returns at once.
"""

import contextlib
import errno
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no lock there
    fcntl = None

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / ".venv.lock"
READY = VENV / ".attn-lessons-ready"
UNFINISHED = VENV / ".attn-lessons-unfinished"
LOG = VENV / "install.log"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
INHERITED = []  # pip and uv hold the lock too: if this script is killed, a second call waits for a uv still at work

NEEDED = (3, 10)
# Installed size is 6.1 GB on Linux, where torch brings CUDA; the rest is room for the files being unpacked.
NEEDED_GB = 9 if sys.platform.startswith("linux") else 2

NO_SPACE = f"the disk is full: free about {NEEDED_GB} GB (`uv cache clean` may help), then run the same command again."
# What pip and uv print, and the sentence to say then. The first match counts.
TROUBLES = [
    (r"No space left on device|Disk quota exceeded|os error (28|122)\b|Errno (28|122)\b", NO_SPACE),
    (
        r"name resolution|Name or service not known|nodename nor servname|failed to lookup|dns error|getaddrinfo failed"
        r"|Connection refused|timed? ?out\b|Network is unreachable|No route to host|Connection reset"
        r"|Failed to establish a new connection|tcp connect error|error sending request|ProxyError",
        "the packages could not be downloaded, there seems to be no network: check the connection (behind a proxy, set "
        "HTTPS_PROXY), then run the same command again.",
    ),
    (
        r"no wheels? with a matching|source distribution or wheel for the current platform|has no usable wheels",
        "a package has no build for this Python or this machine: try `make lab PYTHON=python3.12`.",
    ),
]


class Stop(Exception):
    """Carries the one sentence that the reader sees."""


def say(text):
    print(text, flush=True)


def fingerprint():
    # ROOT is part of it because the editable install points there: a moved folder must be installed again.
    parts = [(ROOT / name).read_bytes() for name in ("requirements.txt", "pyproject.toml")] + [str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def stamp():
    """The hash of what was installed and the Python that .venv was made with; two empty strings before an install."""
    lines = READY.read_text().split() if READY.is_file() else []
    return [*lines, "", ""][:2]


def is_ready():
    return stamp()[0] == fingerprint() and PYTHON.exists() and not UNFINISHED.exists()


def check_python(version=sys.version_info, has_ensurepip=None):
    if tuple(version[:2]) < NEEDED:
        found, needed = ".".join(map(str, version[:3])), ".".join(map(str, NEEDED))
        raise Stop(f"this is Python {found}, the course needs {needed} or newer: run `make lab PYTHON=python3.12`.")
    if has_ensurepip is None:
        has_ensurepip = bool(importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"))
    if not has_ensurepip:
        package = "python{}.{}-venv".format(*version[:2])
        raise Stop(
            f"this Python cannot make virtual environments: on Debian or Ubuntu run `sudo apt install {package}`."
        )


def check_space():
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < NEEDED_GB:
        raise Stop(
            f"the install needs about {NEEDED_GB} GB and only {free:.1f} GB are free in {ROOT}: make room first."
        )


@contextlib.contextmanager
def one_at_a_time():
    """Two calls at once would write into the same .venv. The lock ends with the last process that holds it."""
    with LOCK.open("w") as lock:
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another call is preparing .venv: waiting for it to finish.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            INHERITED.append(lock.fileno())
        yield


def clear():
    """Empty .venv except for the marker, so that a removal cut short is still known to be ours."""
    UNFINISHED.touch()
    for path in VENV.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(str(path))
        elif path != UNFINISHED:
            path.unlink()


def begin():
    """Make .venv ready for the packages: a new one, or the old one kept where it only needs an update."""
    if UNFINISHED.exists():
        say("An earlier install was cut short or failed: starting again.")
        clear()
    elif READY.exists() and PYTHON.exists():
        say("What the course needs has changed: updating .venv.")
        READY.write_text("updating " + stamp()[1])  # no hash matches this: cut short, the next call updates again
        return
    elif READY.exists():
        say("The Python that .venv was made with is gone: starting again.")
        clear()
    elif os.path.lexists(str(VENV)) and not (VENV.is_dir() and not any(VENV.iterdir())):
        raise Stop(
            "the folder .venv was not made by this course: move it away (`mv .venv .venv-mine`), then run this again."
        )
    check_space()
    say("Installing the course's packages into .venv: only once, for a few minutes, the last of them without output.")
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    # The base interpreter: sys.executable may lie in the very .venv that has just been emptied.
    run(getattr(sys, "_base_executable", None) or sys.executable, "-m", "venv", VENV)


def environment():
    """The user's own settings win; what is added shortens the wait without a network and hands pip's index to uv."""
    env = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1")  # PIP_USER=1 fails in a .venv
    listed = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], env=env, text=True, stdout=subprocess.PIPE)
    pip = dict(re.findall(r"^[\w:-]+\.([\w-]+)='(.*)'$", listed.stdout, re.MULTILINE))
    if not {"PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT"} & set(env) and not {"timeout", "default-timeout"} & set(pip):
        env["PIP_TIMEOUT"] = "15"
    if "retries" not in pip:
        env.setdefault("PIP_RETRIES", "1")
    # uv does not read pip's settings: without these a user behind a mirror gets uv and then nothing.
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(env):
        env["UV_DEFAULT_INDEX"] = env.get("PIP_INDEX_URL") or pip.get("index-url", "")
    env.setdefault("SSL_CERT_FILE", env.get("PIP_CERT") or pip.get("cert", ""))
    return {name: value for name, value in env.items() if value or name not in ("UV_DEFAULT_INDEX", "SSL_CERT_FILE")}


def run(*command, env=None):
    """Run pip, uv or venv: what it prints is shown and logged; if it fails, stop with one sentence."""
    command, tail = [str(part) for part in command], []
    options = {"cwd": str(ROOT), "env": env, "pass_fds": INHERITED, "stdin": subprocess.DEVNULL}
    options.update(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with LOG.open("ab") as log, subprocess.Popen(command, **options) as process:
        try:
            for line in process.stdout:
                log.write(line)
                if not line.startswith((b" + ", b" - ", b" ~ ")):  # uv's list of 150 packages: the log has it
                    sys.stdout.buffer.write(line)
                    sys.stdout.flush()
                tail = [*tail[-40:], line.decode(errors="replace")]
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise Stop(explain(command, tail))


def explain(command, tail):
    text = "".join(tail)
    for pattern, sentence in TROUBLES:
        if re.search(pattern, text, re.IGNORECASE):
            return sentence
    last = "".join("    " + line for line in tail[-5:])
    return "`{}` failed; the whole log is in {}, its last lines:\n{}".format(" ".join(command), LOG, last.rstrip())


def install():
    env = environment()
    if not (BIN / ("uv.exe" if os.name == "nt" else "uv")).exists():
        run(PYTHON, "-m", "pip", "install", "--quiet", "uv", env=env)
    uv = [BIN / "uv", "pip", "install", "--python", PYTHON]
    # uv leaves byte-compiling to the first import, which would make the first lesson slow.
    run(*uv, "--compile-bytecode", "-r", "requirements.txt", env=env)
    # Without isolation the build uses the setuptools just installed and downloads nothing.
    run(*uv, "--no-deps", "--no-build-isolation", "-e", ".", env=env)


def remove():
    """For `make clean`: only what this script made is removed."""
    if READY.exists() or UNFINISHED.exists():
        clear()
        UNFINISHED.unlink()
        VENV.rmdir()


def finish():
    version = stamp()[1] or "{}.{}".format(*sys.version_info)
    unfinished_stamp = READY.with_name(READY.name + ".new")
    unfinished_stamp.write_text(fingerprint() + "\n" + version + "\n")
    unfinished_stamp.replace(READY)  # at once or not at all
    if UNFINISHED.exists():
        UNFINISHED.unlink()


def main():
    started = time.time()
    try:
        if sys.argv[1:] == ["--remove"]:
            with one_at_a_time():
                remove()
            return 0
        if is_ready():
            made_with, asked_for = stamp()[1], "{}.{}".format(*sys.version_info)
            if made_with != asked_for:
                say(f"Using .venv, made with Python {made_with} (remove .venv to make a new one with {asked_for}).")
            return 0
        check_python()
        with one_at_a_time():
            if not is_ready():  # the call waited for may have made it ready
                begin()
                install()
                finish()
                say(f"Ready: .venv ({time.time() - started:.0f} s).")
        return 0
    except KeyboardInterrupt:
        trouble, code = "interrupted; the next call goes on where it can.", 130
    except Stop as stop:
        trouble, code = str(stop), 1
    except Exception as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        trouble, code = NO_SPACE if full else f"{type(error).__name__}: {error}", 1
    print("setup: " + trouble, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
