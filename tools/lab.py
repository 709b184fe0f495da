"""Start JupyterLab on the lessons and print one line, its address. Options of `jupyter lab` may follow."""

import logging
import os
import secrets
import sys
from pathlib import Path

# jsonschema imports this, if it is there, to check a format that JupyterLab does not use. It compiles a grammar as it
# is imported, which takes longer than all the rest of the start.
sys.modules["rfc3987_syntax"] = None

import zmq  # noqa: E402
from jupyterlab.labapp import LabApp  # noqa: E402
from traitlets.config import Config  # noqa: E402

TOOLS = Path(__file__).resolve().parent
NOTEBOOKS = TOOLS.parent / "notebooks"


def can_show_a_browser():
    # Without a display Python would pick a text browser, which takes over this terminal.
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def defaults():
    """What a person's own Jupyter settings, and any option given, may change."""
    config = Config()
    config.ServerApp.answer_yes = True  # one Ctrl-C stops it, no question asked
    config.ServerApp.open_browser = can_show_a_browser()
    config.ServerApp.log_level = config.LabApp.log_level = logging.ERROR
    # On a machine with other users they could read along; and the kernel warns of it in this terminal.
    config.KernelManager.transport_encryption = "auto" if zmq.has("curve") else "disabled"
    # Jupyter refuses root without this; in a container there may be no one else.
    config.ServerApp.allow_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return config


def fixed(options):
    """What only an option may change: the list of lessons comes first, and nobody outside this machine can connect."""
    given = {option.partition("=")[0].lstrip("-").split(".")[-1].replace("-", "_") for option in options}
    if not given & {"root_dir", "notebook_dir"}:
        yield f"--ServerApp.root_dir={NOTEBOOKS}"
    if "ip" not in given:
        yield "--ServerApp.ip=127.0.0.1"


def main(options):
    # Jupyter announces a token it made itself in ten lines; one that it is given it keeps quiet about.
    os.environ.setdefault("JUPYTER_TOKEN", secrets.token_hex(24))
    # Adds labconfig/ beside this file: without it the first start asks whether to subscribe to Jupyter's news.
    folders = [os.environ.get("JUPYTER_CONFIG_PATH"), str(TOOLS)]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, folders))
    server = LabApp.initialize_server(argv=[*fixed(options), *options], config=defaults())
    # The true address: by now the port is bound, the next free one where the first choice is taken.
    url = server.local_url if server.ip in ("", "0.0.0.0", "::") else server.public_url
    address, token = url.partition("?")[0], server.identity_provider.token
    address += f"?token={token}" if token else ""  # a person who has set a password has no token
    server.io_loop.add_callback(lambda: print(f"Lessons at {address}  (Ctrl-C stops)", flush=True))
    server.start()


if __name__ == "__main__":
    main(sys.argv[1:])
