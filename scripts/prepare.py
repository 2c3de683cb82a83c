"""Make ``.venv`` ready: the project in editable form with the pinned versions of ``constraints.txt``.

    python3 scripts/prepare.py          what `make run` needs
    python3 scripts/prepare.py dev      what `make test` needs

Runs on the bare interpreter, before anything is installed. It does nothing when the environment is already what these
files ask for, so every target of the Makefile calls it. The first lines must parse on old interpreters too: they are
there to say, in a sentence, that the interpreter is too old.
"""

# ruff: noqa: S603 - every command that is run is spelt out here

import hashlib
import os
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = {"run": "sandbox", "dev": "dev"}
"""Purpose -> the extra of pyproject.toml that serves it. ``dev`` contains ``sandbox``."""


def main(purpose: str) -> int:
    """Prepare the environment for ``run`` or ``dev``; return the process's exit code."""
    if sys.version_info < OLDEST:
        return fail(
            f"bydawn needs Python {version(OLDEST)} or newer, and {sys.executable} is {version(sys.version_info)}. "
            "Where a newer one is installed under another name, say so: make PYTHON=python3.12 run"
        )
    if is_ready(purpose):
        return 0
    if not works(VENV_PYTHON) and not make_venv():
        return fail("the virtual environment could not be made; on Debian and Ubuntu: apt install python3-venv")
    if not install(purpose):
        return fail("the packages could not be installed; see pip's message above")
    stamp(purpose).write_text(fingerprint(), encoding="ascii")
    return 0


def fail(message: str) -> int:
    """Say what is wrong and return the exit code for it."""
    sys.stderr.write("prepare: " + message + "\n")
    return 2


def stamp(purpose: str) -> Path:
    """Return the file that remembers for which versions the environment was made ready."""
    return VENV / (".ready-" + purpose)


def fingerprint() -> str:
    """Digest everything the environment depends on: the requirements, their versions and where the checkout lies."""
    content = (ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes() + str(ROOT).encode()
    return hashlib.sha256(content).hexdigest()


def is_ready(purpose: str) -> bool:
    """Tell whether nothing needs to be installed. What serves ``dev`` serves ``run``."""
    if not works(VENV_PYTHON):
        return False
    stamps = {stamp(purpose), stamp("dev")}
    return any(path.exists() and path.read_text(encoding="ascii") == fingerprint() for path in stamps)


def works(python: Path) -> bool:
    """Tell whether the interpreter starts: a moved or half-made environment has one that does not."""
    try:
        return subprocess.run([str(python), "-c", ""], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def make_venv() -> bool:
    """Create the environment anew; tell whether that worked."""
    say(f"making .venv with Python {version(sys.version_info)}")
    return subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False).returncode == 0


def install(purpose: str) -> bool:
    """Install the project and the pinned versions; tell whether that worked."""
    say("installing bydawn with the versions of constraints.txt")
    command = [str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["-c", str(CONSTRAINTS), "-e", f"{ROOT}[{EXTRAS[purpose]}]"]
    # The build backend is installed apart, and only hears of constraints through these (older and newer pip).
    pinned_build = {"PIP_CONSTRAINT": str(CONSTRAINTS), "PIP_BUILD_CONSTRAINT": str(CONSTRAINTS)}
    return subprocess.run(command, check=False, env={**os.environ, **pinned_build}).returncode == 0


def version(parts: tuple) -> str:
    """Write the first two parts of a version as people do."""
    return ".".join(str(part) for part in parts[:2])


def say(message: str) -> None:
    """Tell the user what takes the time."""
    sys.stderr.write("prepare: " + message + " ...\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "run"))
