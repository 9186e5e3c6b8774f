"""The Dockerfile's steps, performed without an engine: in a folder that stands for the image."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from redivis_emulator import Emulator
from tests.package.conftest import PIP_QUICKLY, Dist
from tests.support.served import visits, write_table

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("image"),
]  # one worker builds it, beside the one of the other tests of the package

_NOBODY = "65534"
_PAGE = (Path(__file__).parents[2] / "docs/docker.md").read_text()


@dataclass
class _Image:
    """A folder in which the steps of a Dockerfile are performed.

    Attributes:
        root: Stands for `/`; python, which the base image brings, is an environment in it.
        context: The folder that is built from.
        base: The base image's name.
        folder: The working directory of the next step.
        user: The user of what comes.
        entrypoint: The command.
    """

    root: Path
    context: Path
    base: str = ""
    folder: Path = field(init=False)
    user: str = "root"
    entrypoint: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.folder = self.root

    def perform(self, instruction: str, argument: str) -> None:
        """Perform one instruction.

        Raises:
            KeyError: There is no way to perform it here.
        """
        steps = {
            "FROM": self._from,
            "WORKDIR": self._workdir,
            "COPY": self._copy,
            "RUN": self._run,
            "USER": self._user,
            "ENTRYPOINT": self._entrypoint,
        }
        steps[instruction](argument)

    def variables(self) -> dict[str, str]:
        """Return the environment of a process in the image."""
        path = f"{self.root}/python/bin:{self.root}/stubs:{os.environ['PATH']}"
        return {**os.environ, **PIP_QUICKLY, "PATH": path, "HOME": str(self.folder)}

    def _from(self, base: str) -> None:
        self.base = base
        venv.create(self.root / "python", symlinks=True, with_pip=True)
        # What only root may do, and nobody should here, is noted.
        stub = self.root / "stubs/useradd"
        stub.parent.mkdir()
        stub.write_text(f'#!/bin/sh\necho "$@" >> {self.root}/users\n')
        stub.chmod(0o755)

    def _workdir(self, path: str) -> None:
        self.folder = self.root / path.lstrip("/")
        self.folder.mkdir(parents=True, exist_ok=True)

    def _copy(self, argument: str) -> None:
        *patterns, target = argument.split()
        for pattern in patterns:
            for source in self.context.glob(pattern):
                shutil.copy(source, self.folder / target)

    def _run(self, command: str) -> None:
        subprocess.run(["sh", "-ec", command], cwd=self.folder, env=self.variables(), check=True)

    def _user(self, user: str) -> None:
        assert f"--uid {user} " in (self.root / "users").read_text()
        self.user = user

    def _entrypoint(self, command: str) -> None:
        self.entrypoint = tuple(json.loads(command))


@pytest.fixture(name="image", scope="module")
def build_image(dist: Dist, pytestconfig: pytest.Config) -> Iterator[_Image]:
    """The image; its folder is open to everybody, as the folders of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        context = folder / "context"
        (context / "dist").mkdir(parents=True)
        shutil.copy(dist.wheel, context / "dist")
        shutil.copy(pytestconfig.rootpath / "constraints.txt", context)
        image = _Image(folder, context)
        for instruction, argument in _steps(pytestconfig.rootpath / "Dockerfile"):
            image.perform(instruction, argument)
        yield image


def test_an_ordinary_user_runs_the_tap(image: _Image) -> None:
    """The command is there, and its user is neither root nor the owner of what is installed."""
    done = _run(image, "--version")

    assert image.user not in {"root", "0"}
    assert done.startswith("tap-redivis v")


def test_an_ordinary_user_loads_a_table(image: _Image, tmp_path: Path) -> None:
    write_table(tmp_path, "demo/visits/v1.0/visits", visits(2000))
    (image.folder / "config.json").write_text('{"datasets": ["demo.visits"]}')

    with Emulator(tmp_path) as emulator:
        service = {"REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": emulator.token or ""}
        done = _run(image, "--config", "config.json", **service)

    assert done.count('{"type":"RECORD"') == 2000


def test_a_config_that_only_its_owner_can_read_is_enough(image: _Image, tmp_path: Path) -> None:
    """With the `--user` of the page the tap runs as its owner."""
    config = image.folder / "private.json"
    config.write_text('{"datasets": ["demo.visits"]}')
    config.chmod(0o600)
    write_table(tmp_path, "demo/visits/v1.0/visits", visits(10))

    with Emulator(tmp_path) as emulator:
        service = {"REDIVIS_API_ENDPOINT": emulator.endpoint, "REDIVIS_API_TOKEN": emulator.token or ""}
        if os.geteuid() == 0:
            os.chown(config, int(_NOBODY), int(_NOBODY))
        done = _run(image, "--config", "private.json", **service)

    assert done.count('{"type":"RECORD"') == 10
    assert '--user "$(id -u):$(id -g)"' in _PAGE


def test_the_wheel_is_named_exactly(dist: Dist, pytestconfig: pytest.Config) -> None:
    """The one of this version: another in the folder `dist` does not get into the image."""
    text = (pytestconfig.rootpath / "Dockerfile").read_text()

    assert set(re.findall(r"\S*\.whl", text)) == {f"dist/{dist.wheel.name}", f"./{dist.wheel.name}"}
    assert f"./{dist.wheel.name}[" in _PAGE


def test_the_images_python_is_one_that_is_tested(image: _Image, dist: Dist) -> None:
    assert image.base in {f"python:{version}-slim" for version in dist.pythons()}


def test_nothing_reaches_the_builder_but_what_is_copied(pytestconfig: pytest.Config) -> None:
    """No config with a token, no state, no history is sent to the engine."""
    copied = [argument for name, argument in _steps(pytestconfig.rootpath / "Dockerfile") if name == "COPY"]
    ignored = (pytestconfig.rootpath / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if not line.startswith("#")]

    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules[1:]} == {
        source for argument in copied for source in argument.split()[:-1]
    }


def _steps(dockerfile: Path) -> list[tuple[str, str]]:
    """Return instructions and their arguments."""
    text = dockerfile.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(instruction, argument) for instruction, argument in (line.split(maxsplit=1) for line in lines)]


def _run(image: _Image, *arguments: str, **variables: str) -> str:
    """Run the image's command as its user; return what it wrote to stdout."""
    done = subprocess.run(
        [*_as_ordinary_user(), *image.entrypoint, *arguments],
        cwd=image.folder,
        env={**image.variables(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _as_ordinary_user() -> list[str]:
    """Return the command that gives root's rights up."""
    if os.geteuid() != 0:
        return []
    give_up = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    if all(folder.stat().st_mode & 0o001 for folder in Path(sys.base_prefix).parents):
        return give_up
    # The interpreter lies in a folder of root's: reading stays allowed, writing does not.
    return [*give_up, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
