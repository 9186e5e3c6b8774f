"""The wheel and the source distribution, built once a test run."""

from __future__ import annotations

import os
import subprocess
import tarfile
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.environments import environment

PIP_QUICKLY = {"PIP_NO_COMPILE": "0"}
"""Variables of a pip that compiles nothing, since most modules are never imported here; 0 is how it spells yes."""


@dataclass(frozen=True)
class Dist:
    """What is released.

    Attributes:
        wheel: Path of the wheel.
        sdist: Path of the source distribution.
    """

    wheel: Path
    sdist: Path

    @property
    def info(self) -> str:
        """Name of the folder of metadata in the wheel."""
        return "-".join(self.wheel.name.split("-")[:2]) + ".dist-info"

    def metadata(self) -> Message:
        """Read the wheel's metadata."""
        with ZipFile(self.wheel) as archive:
            return BytesParser().parsebytes(archive.read(f"{self.info}/METADATA"))

    def clone(self, folder: Path) -> Path:
        """Make what a clone of the repository holds, which the source distribution does too; return where it is."""
        with tarfile.open(self.sdist) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian's Python 3.11.2 has none
            archive.extractall(folder)  # noqa: S202 - our own
        return folder / self.sdist.name.removesuffix(".tar.gz")

    def pythons(self) -> list[str]:
        """Return the versions of Python that are promised, such as `3.10`, oldest first."""
        classifiers = self.metadata().get_all("Classifier", [])
        return [
            text.rsplit(" ", 1)[1] for text in classifiers if text.startswith("Programming Language :: Python :: 3.")
        ]


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Dist:
    """Build as a release does; or take what the variable TAP_REDIVIS_DIST says, so that a release tests what it built.

    With pytest-xdist each worker builds its own, in two seconds: tests that use it share a group, to save them.
    """
    given = os.environ.get("TAP_REDIVIS_DIST")
    folder = Path(given) if given else _build(pytestconfig.rootpath, tmp_path_factory.mktemp("dist"))
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Dist(wheel, sdist)


def _build(root: Path, folder: Path) -> Path:
    subprocess.run([environment("hatchling").executable("hatchling"), "build", "-d", folder], cwd=root, check=True)
    return folder
