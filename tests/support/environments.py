"""Virtual environments of programs whose dependencies clash with ours, built once and kept in a cache folder.

What is installed is said by `constraints-<distribution>.txt` beside this file. The environments are kept under
`.cache/environments` of the repository, or under the folder that the variable `TAP_REDIVIS_TEST_CACHE` names.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HERE = Path(__file__).parent
_COMPLETE = "complete"


class EnvironmentBuildError(RuntimeError):
    """pip could not install a program into an environment of its own."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds one distribution with its pinned dependencies.

    Attributes:
        path: The environment's folder.
    """

    path: Path

    @property
    def bin(self) -> Path:
        """The folder of the environment's programs."""
        return self.path / "bin"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.bin / "python"

    def executable(self, name: str) -> Path:
        """Return the path of an installed program.

        Raises:
            FileNotFoundError: The environment has no such program.
        """
        path = self.bin / name
        if not path.exists():
            raise FileNotFoundError(path)
        return path


def environment(distribution: str, extra: str = "", beside: Sequence[str] = ()) -> Environment:
    """Return the environment of a distribution such as `target-jsonl`; build it if the cache does not hold it.

    Processes that want the same environment at once wait for the one that builds it.

    Args:
        distribution: Its name; its constraints have it too.
        extra: The extra that is wanted, if one is.
        beside: Distributions to install beside it.

    Raises:
        FileNotFoundError: There are no constraints for the distribution.
        EnvironmentBuildError: pip failed; the message is what it said.
    """
    constraints = _HERE / f"constraints-{distribution}.txt"
    path = cache_folder() / f"{distribution}-{_key(constraints)}"
    if not (path / _COMPLETE).exists():
        with _locked(path.with_suffix(".lock")):
            if not (path / _COMPLETE).exists():
                _build(path, [f"{distribution}[{extra}]" if extra else distribution, *beside], constraints)
    return Environment(path)


def cache_folder() -> Path:
    """Return the folder that holds the environments, which need not exist yet."""
    cache = os.environ.get("TAP_REDIVIS_TEST_CACHE")
    return (Path(cache) if cache else _HERE.parents[1] / ".cache") / "environments"


def _key(constraints: Path) -> str:
    """Return what tells environments of one distribution apart: its pins and the interpreter they were chosen for."""
    basis = f"{constraints.read_text()}\n{platform.python_version()}\n{sys.base_prefix}"
    return hashlib.sha256(basis.encode()).hexdigest()[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out until the block ends; the system frees the lock also when this process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(path: Path, requirements: Sequence[str], constraints: Path) -> None:
    """Build an environment where it will stay, since its programs hold its path; a marker tells that it is whole."""
    shutil.rmtree(path, ignore_errors=True)
    venv.create(path, symlinks=True, with_pip=False)
    install = [sys.executable, "-m", "pip", "--python", str(path / "bin" / "python"), "install", "--quiet"]
    # Old source distributions declare no build system: without this option some versions of pip build them unisolated.
    install += ["--use-pep517", *requirements]
    # Variables, not options: they reach the isolated environments in which pip builds (newer pip reads the second).
    pins = {"PIP_CONSTRAINT": str(constraints), "PIP_BUILD_CONSTRAINT": str(constraints)}
    done = subprocess.run(install, env={**os.environ, **pins}, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"cannot install {' '.join(requirements)}:\n{done.stderr}"
        raise EnvironmentBuildError(message)
    (path / _COMPLETE).touch()
