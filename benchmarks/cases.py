"""What is measured: programs that read a table, each with its settings, its reader and the network in between."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.served import LOOPBACK, Network, Server
from benchmarks.shapes import Shape
from benchmarks.sinks import CATALOG, COPIES, FILES, LINES, NULL, RECORDS, SAID, Sink
from tests.support.environments import environment
from tests.support.pipes import Program, tap

TAP = "tap-redivis"
CONTENTS = "bench.contents.files"
AT_ONCE = 8
"""So many files are copied at the same time."""
_CLIENT = Path(__file__).with_name("client_script.py")
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Place:
    """Where a case runs.

    Attributes:
        server: What it reads from.
        folder: Of its own, for its settings and for the files that it writes.
        scheduler: Address of a Dask cluster; None: there is none.
    """

    server: Server
    folder: Path
    scheduler: str | None = None

    @property
    def out(self) -> Path:
        """Where files go; emptied after each run."""
        return self.folder / "out"


@dataclass(frozen=True)
class Body:
    """What the server sends of one table.

    Attributes:
        table: Reference of the table.
        wire_format: As the server calls it.
        rows: Of the whole table.
    """

    table: str
    wire_format: str
    rows: int


@dataclass(frozen=True)
class Case:
    """Something whose speed is measured.

    Attributes:
        name: Unique in its scene.
        program: Makes the call for one run.
        rows: How many rows must arrive.
        sink: Where they go.
        warm_sink: Where they go in the run that warms up; None: to the same.
        body: What is read, where it is one table; perhaps not all of it.
        network: What lies between.
        only_rows: Whether only the time from the first row to the last counts: for programs that read fewer rows than
            the others, so that their start would weigh more.
    """

    name: str
    program: Callable[[Place], Program]
    rows: int
    sink: Sink = RECORDS
    warm_sink: Sink | None = None
    body: Body | None = None
    network: Network = LOOPBACK
    only_rows: bool = False

    @property
    def slug(self) -> str:
        """Its name as a file's."""
        return re.sub(r"\W+", "-", self.name)


def tap_case(name: str, shape: Shape, **settings: object) -> Case:
    """Make a case of the tap that reads one table to RECORD messages; without the row key, if nothing else is said."""
    config = {"tables": [shape.reference], "row_key": False, **settings}
    body = _body(shape, str(settings.get("wire_format", "jsonl")))
    return Case(f"{TAP}, {name}", _tap(config), shape.rows, body=body)


def batch_case(name: str, shape: Shape, encoding: Mapping[str, object], **settings: object) -> Case:
    """Make a case of the tap that writes one table into files; with `executor="dask"`, on the scene's cluster."""

    def program(place: Place) -> Program:
        batch = {"encoding": encoding, "storage": {"root": str(place.out)}, **settings}
        if place.scheduler and settings.get("executor") == "dask":
            batch["scheduler"] = place.scheduler
        return _tap({"tables": [shape.reference], "row_key": False, "batch_config": batch})(place)

    body = _body(shape, "jsonl" if encoding["format"] == "jsonl" else "arrow")
    return Case(name, program, shape.rows, FILES, body=body)


def _tap(config: Mapping[str, object], *arguments: str) -> Callable[[Place], Program]:
    return lambda place: tap(place.server, place.folder, {"skip_unchanged": False, **config}, *arguments)


def many_case(tables: int, rows: int, **settings: object) -> Case:
    """Make a case of the tap that reads a dataset of small tables."""
    return Case(TAP, _tap({"datasets": ["bench.many"], "row_key": False, **settings}), tables * rows)


def discovery_case(tables: int, **settings: object) -> Case:
    """Make a case of the tap that discovers a dataset of small tables: its rows are streams."""
    return Case(TAP, _tap({"datasets": ["bench.many"], **settings}, "--discover"), tables, CATALOG)


def curl_case(name: str, shape: Shape, wire_format: str, *, to_file: bool = False) -> Case:
    """Make a case of curl that reads the same bytes: to /dev/null, or to a file where the tap's files go."""

    def program(place: Place) -> Program:
        address = place.server.read_stream(shape.reference, wire_format)
        bearer = f"Authorization: Bearer {place.server.token}"
        place.out.mkdir(exist_ok=True)
        output = str(place.out / "body") if to_file else os.devnull
        options = ("--silent", "--fail", "--output", output, "--write-out", "%{size_download}")
        return Program((_found("curl"), *options, "--header", bearer, address), {})

    return Case(name, program, shape.rows, SAID, body=_body(shape, wire_format))


def copies_case(name: str, files: int, **settings: object) -> Case:
    """Make a case of the tap that copies the contents of files beside their rows."""

    def program(place: Place) -> Program:
        config = {"tables": [CONTENTS], "row_key": False, "files": {"root": str(place.out)}, **settings}
        return _tap(config)(place)

    return Case(name, program, files, COPIES)


def rows_case(name: str, files: int) -> Case:
    """Make a case of the tap that reads the same rows, and no files."""
    return Case(name, _tap({"tables": [CONTENTS], "row_key": False}), files)


def curl_copies_case(name: str, files: int, *, check: bool = False) -> Case:
    """Make a case of curl that copies the same files to the same place, eight at once; md5sum may read them then."""

    def program(place: Place) -> Program:
        place.out.mkdir(exist_ok=True)
        bearer = f"Authorization: Bearer {place.server.token}"
        parallel = ("--parallel", "--parallel-immediate", "--parallel-max", str(AT_ONCE))
        options = ("--silent", "--fail", *parallel, "--header", bearer)
        said = ("--write-out", "file://%{filename_effective}\\n")
        pairs = ((place.out / file, address) for file, address in place.server.files(CONTENTS).items())
        outputs = (part for path, address in pairs for part in ("--output", str(path), address))
        argv = (_found("curl"), *options, *said, *outputs)
        then = f'"$0" "$@" && md5sum {place.out}/* > {place.folder}/md5' if check else 'exec "$0" "$@"'
        return Program(("/bin/sh", "-c", then, *argv), {})

    return Case(name, program, files, COPIES)


def plain_case(shape: Shape, kind: str, rows: int, batch: Mapping[str, object] | None = None) -> Case:
    """Make a case of a plain singer-sdk tap that writes RECORD messages (``plain``, ``best``) or files (``files``)."""

    def program(place: Place) -> Program:
        config: dict[str, object] = {"table": shape.reference, "max_rows": rows}
        if batch is not None:
            place.out.mkdir(exist_ok=True)
            config["batch_config"] = {"storage": {"root": place.out.as_uri()}, **batch}
        (place.folder / "plain.json").write_text(json.dumps(config))
        options = ("-m", "benchmarks.plain_tap", kind, "--config", str(place.folder / "plain.json"))
        return Program((sys.executable, *options), {**_address(place.server), "PYTHONPATH": str(_ROOT)})

    words = _PLAIN[kind]
    sink: Sink = RECORDS if batch is None else FILES
    return Case(words, program, rows, sink, body=_body(shape, "jsonl"), only_rows=True)


_PLAIN = {
    "plain": "plain singer-sdk tap",
    "best": "singer-sdk tap, MsgSpecWriter, conformance NONE",
    "files": "plain singer-sdk tap, files",
}


def client_case(name: str, shape: Shape, how: str) -> Case:
    """Make a case of the official client that reads a table and writes it as JSON Lines."""

    def program(place: Place) -> Program:
        argv = (str(environment("redivis").python), str(_CLIENT), how, shape.reference)
        return Program(argv, {**_address(place.server), "REDIVIS_TMPDIR": str(place.folder)})

    return Case(f"official client, {name}", program, shape.rows, LINES, body=_body(shape, "arrow"))


def to_null(case: Case) -> Case:
    """Let a case write to /dev/null, but for the run that warms up, in which the rows are counted."""
    return replace(case, name=f"{case.name}, to /dev/null", sink=NULL, warm_sink=case.sink)


def _found(name: str) -> str:
    """Return the path of a program.

    Raises:
        FileNotFoundError: It is not installed.
    """
    if (path := shutil.which(name)) is None:
        msg = f"{name} is not installed: the benchmark compares with it"
        raise FileNotFoundError(msg)
    return path


def _body(shape: Shape, wire_format: str) -> Body:
    return Body(shape.reference, wire_format, shape.rows)


def _address(server: Server) -> Mapping[str, str]:
    return {"REDIVIS_API_ENDPOINT": server.endpoint, "REDIVIS_API_TOKEN": server.token}
