"""BATCH's parts: settings, files and their encodings, and the storage that lets a file appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import pickle
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tap_redivis.batch.encodings import ArrowEncoder, FileColumns, ParquetEncoder
from tap_redivis.batch.output import FileOutput
from tap_redivis.batch.storage import Closed, storage_at
from tap_redivis.batch.storage import folder as folder_module
from tap_redivis.batch.storage.folder import Folder, PartialFile, storage_errors
from tap_redivis.errors import ConfigError, RowTooLarge, StorageError, Unavailable
from tap_redivis.model.batch_settings import BatchSettings, batch_settings
from tap_redivis.model.columns import Column, ValueRules
from tap_redivis.model.reads import ReadRequest, StreamPosition
from tap_redivis.planning.bookmarks import PartialLoad
from tap_redivis.reading.jobs import Chunk, JobSpec, Server
from tap_redivis.wire.arrays import rows_of
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import MAX_ROW_BYTES, ArrowRows, JsonRows, ValueIssues
from tests.support.batches import ENCODINGS, records_in

_NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
_CODEC = RowCodec("demo.visits", [Column("id", "integer")], ValueRules(for_arrow=True), ValueIssues())
_REQUEST = ReadRequest("demo.visits", "/tables/demo.visits", "arrow", 2, None, None, 20.0)
_SPEC = JobSpec(
    Server("http://localhost", is_anonymous=True, timeout=20, max_retry_seconds=20),
    _REQUEST,
    _CODEC.columns,
    _CODEC.rules,
)
_NO_COLUMNS = FileColumns(None, constants={})
_SCHEMA = pa.schema([("id", pa.int64())])


def _reading(table_version: int = 7, version: str | None = "v1.0") -> PartialLoad:
    streams = {"a": StreamPosition(), "b": StreamPosition()}
    return PartialLoad("session", _NOW, "arrow", "digest", table_version, streams, version)


def _output(root: Path | str, encoding: str = "arrow", version: str = "v1.0", **settings: Any) -> FileOutput:
    kind = BatchSettings(encoding, None, str(root), version_columns=False, **settings)  # type: ignore[arg-type]
    load = _reading(version=version)
    return FileOutput(kind, "visits", _SPEC, load, _NO_COLUMNS)


def _rows(encoding: str, first: int, count: int) -> JsonRows:
    ids = range(first, first + count)
    if encoding == "jsonl":
        return JsonRows(count, b"".join(b'{"id":%d}\n' % number for number in ids))
    return ArrowRows(pa.RecordBatch.from_arrays([pa.array(ids, pa.int64())], schema=_SCHEMA))


def _published(output: FileOutput, files: Iterator[Chunk]) -> list[Path]:
    """Let files appear; give their paths, which hold as many rows as they say."""
    paths = []
    for file in files:
        paths.append(Path(unquote(output.publish(file).removeprefix("file://"))))
        assert len(records_in(paths[-1])) == file.count
    return paths


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [None, {}, {"encoding": {}, "storage": {}}, {"encoding": {"format": None}}])
def test_without_a_value_there_is_no_batch(config: dict[str, Any] | None) -> None:
    """Meltano passes null for settings that nobody set."""
    assert batch_settings(config) is None


@pytest.mark.parametrize(
    ("encoding", "rows", "described"),
    [
        ("jsonl", 100_000, {"format": "jsonl", "compression": "gzip"}),
        ("parquet", 1_000_000, {"format": "parquet", "compression": "zstd"}),
        ("arrow", 1_000_000, {"format": "arrow"}),
    ],
)
def test_each_encoding_has_defaults_of_its_own(encoding: str, rows: int, described: dict[str, str]) -> None:
    settings = batch_settings({"encoding": {"format": encoding}, "storage": {"root": "out"}})

    assert settings is not None
    assert (settings.rows, settings.described, settings.version_columns) == (rows, described, True)


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"encoding": {"format": "arrow"}}, "batch_config.storage.root"),
        ({"storage": {"root": "out"}}, "batch_config.encoding.format"),
        ({"encoding": {"format": "jsonl", "compression": "lz4"}, "storage": {"root": "out"}}, "encoding.compression"),
        ({"encoding": {"format": "arrow"}, "storage": {"root": "out", "prefix": "{nothing}"}}, "storage.prefix"),
        ({"encoding": {"format": "arrow"}, "storage": {"root": "out", "prefix": "{"}}, "storage.prefix"),
        ({"encoding": {"format": "arrow"}, "storage": {"root": "out", "prefix": "a/../../b"}}, "storage.prefix"),
        ({"encoding": {"format": "arrow"}, "storage": {"root": "out", "prefix": "/b"}}, "storage.prefix"),
    ],
)
def test_what_does_not_go_together_is_refused(config: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        batch_settings(config)


@pytest.mark.parametrize("root", ["ftp://host/folder", "gopher://x"])
def test_a_storage_that_is_not_known_is_refused(root: str) -> None:
    with pytest.raises(ConfigError, match="no storage that this tap knows"):
        storage_at(root, "visits-7-", 1000)


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    output = _output((tmp_path / "a folder").as_uri())

    with output.writing():
        [path] = _published(output, output.chunks("a", 0, iter([_rows("arrow", 0, 3)])))

    assert list((tmp_path / "a folder").rglob("*.arrow")) == [path]


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_have_at_most_so_many_rows(tmp_path: Path, encoding: str) -> None:
    output = _output(tmp_path, encoding, rows=4)

    with output.writing():
        blocks = iter([_rows(encoding, 0, 3), _rows(encoding, 3, 9)])
        paths = _published(output, output.chunks("a", 0, blocks))

    assert [[row["id"] for row in records_in(path)] for path in paths] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_are_complete_with_so_many_bytes(tmp_path: Path, encoding: str) -> None:
    """After a whole block, never within one."""
    output = _output(tmp_path, encoding, bytes=1)

    with output.writing():
        paths = _published(output, output.chunks("a", 0, iter([_rows(encoding, 0, 3), _rows(encoding, 3, 2)])))

    assert [len(records_in(path)) for path in paths] == [3, 2]


def test_names_say_stream_load_read_stream_and_offset(tmp_path: Path) -> None:
    """A file of the same rows has the same name in the run that resumes; others have others."""
    output = _output(tmp_path, prefix="{date}/{version}-")

    assert output.name("a", 10) == output.name("a", 10)
    assert len({output.name("a", 10), output.name("b", 10), output.name("a", 11)}) == 3
    assert output.name("a", 10).startswith("2026-01-02/v1.0-visits-7-")
    assert output.name("a", 10).endswith("-000000000010.arrow")


def test_what_all_rows_have_in_common_stands_in_each(tmp_path: Path) -> None:
    """In blocks that are larger and smaller than those before; also where there is no value."""
    constants = {"load": 7, "version": "v1.0 “ä”", "table": None}
    path = tmp_path / "file.arrow"
    with path.open("wb") as sink:
        encoder = ArrowEncoder(sink, _SCHEMA, FileColumns(None, constants=constants), None)
        for first, count in ((0, 2), (2, 5), (7, 3)):
            encoder.write(_rows("arrow", first, count), 0, first)
        encoder.close()

    assert records_in(path) == [{"id": number, "load": 7, "version": "v1.0 “ä”", "table": None} for number in range(10)]


def test_row_groups_are_written_as_soon_as_they_are_large(tmp_path: Path) -> None:
    """Whatever the size of the file, what is kept in memory is bounded."""
    path = tmp_path / "file.parquet"
    with path.open("wb") as sink:
        encoder = ParquetEncoder(sink, _SCHEMA, _NO_COLUMNS, "zstd", group_bytes=1000)
        for number in range(10):
            encoder.write(_rows("parquet", number * 100, 100), 0, 0)
        encoder.close()

    assert pq.ParquetFile(path).metadata.num_row_groups == 5
    assert pq.read_table(path)["id"].to_pylist() == list(range(1000))


def test_a_dictionary_that_saves_nothing_is_given_up_soon(tmp_path: Path) -> None:
    """To look for values among those that were there costs more than to write them where nearly all differ."""
    with (tmp_path / "x").open("wb") as sink:
        encoder = ParquetEncoder(sink, _SCHEMA, _NO_COLUMNS, None, 10**9)
        encoder.write(_rows("parquet", 0, 100_000), 0, 0)
        encoder.close()

    column = pq.read_metadata(tmp_path / "x").row_group(0).column(0)
    assert 100_000 < column.data_page_offset - column.dictionary_page_offset < 200_000


def test_a_small_part_of_a_large_batch_does_not_keep_it_in_memory() -> None:
    large = _rows("parquet", 0, 100_000)
    with Path(os.devnull).open("wb") as sink:
        encoder = ParquetEncoder(sink, _SCHEMA, _NO_COLUMNS, None, group_bytes=10**9)
        encoder.write(large.first(10), 0, 0)

        [kept] = encoder._kept  # noqa: SLF001 - what is held shows nowhere else
        assert kept.get_total_buffer_size() < 1000


def test_a_row_that_is_too_large_is_refused_after_those_before_it() -> None:
    codec = RowCodec("demo.visits", [Column("text", "string")], ValueRules(for_arrow=True), ValueIssues())
    array = pa.array(["a", "b", "x" * (MAX_ROW_BYTES + 1), "c"])
    blocks = rows_of([array], len(array), codec, 10)

    assert next(blocks).batch["text"].to_pylist() == ["a", "b"]
    with pytest.raises(RowTooLarge, match="row 12"):
        next(blocks)


def test_an_error_of_the_reading_leaves_the_rows_before_it_in_a_file(tmp_path: Path) -> None:
    def failing() -> Iterator[JsonRows]:
        yield _rows("arrow", 0, 3)
        raise Unavailable("gone", hint="Wait")

    output = _output(tmp_path)
    files = output.chunks("a", 0, failing())

    with output.writing():
        assert next(files).count == 3
        with pytest.raises(Unavailable):
            next(files)


# --- storage ---------------------------------------------------------------------------------------------------------


def test_a_file_appears_whole_when_it_is_published_and_not_before(tmp_path: Path) -> None:
    output = _output(tmp_path)

    with output.writing():
        [file] = output.chunks("a", 0, iter([_rows("arrow", 0, 3)]))
        assert not list(tmp_path.rglob("*.arrow"))
        output.publish(file)
        assert len(list(tmp_path.rglob("*.arrow"))) == 1


def test_files_that_nobody_was_told_of_are_removed(tmp_path: Path) -> None:
    output = _output(tmp_path)

    with output.writing():
        list(output.chunks("a", 0, iter([_rows("arrow", 0, 3)])))

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_that_is_begun_while_all_are_removed_is_removed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads write while the tap ends the table: at the moment when a file is made, and later."""
    storage = Folder(tmp_path, "visits-7-")
    storage.prepare()
    closing = threading.Thread(target=storage.close, kwargs={"others": False})

    def open_slowly(partial: Path, path: Path, sink: IO[bytes]) -> PartialFile:
        closing.start()
        closing.join(0.1)  # as far as it comes
        partial.parent.mkdir(exist_ok=True)
        partial.touch()
        return PartialFile(partial, path, sink)

    monkeypatch.setattr("tap_redivis.batch.storage.folder.PartialFile", open_slowly)
    storage.create("early.arrow")
    closing.join()
    with pytest.raises(Closed):
        storage.create("late.arrow")

    assert not list((tmp_path / ".partial").iterdir())


def test_a_thread_that_has_not_heard_of_the_end_leaves_nothing(tmp_path: Path) -> None:
    """It hears of it when it writes, or begins the next file."""
    output = _output(tmp_path, rows=3)

    def blocks() -> Iterator[JsonRows]:
        yield _rows("arrow", 0, 1)
        output.storage.close(others=False)
        yield _rows("arrow", 1, 2)
        yield _rows("arrow", 3, 1)

    with output.writing(), pytest.raises(Closed):
        list(output.chunks("a", 0, blocks()))

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def _folders(root: Path) -> list[Path]:
    return list((root / ".partial").iterdir())


def test_only_files_of_loads_that_no_run_has_under_way_are_taken_for_abandoned(tmp_path: Path) -> None:
    """A load's files may be written by processes that hold no lock: the tap holds it for them."""
    going_on, killed = Folder(tmp_path, "a-1-"), Folder(tmp_path, "b-1-")
    going_on.prepare()
    file = going_on.create("a-1-file.arrow").finish()
    (tmp_path / ".partial/before-its-lock").mkdir()
    killed.prepare()
    killed.create("b-1-file.arrow")
    killed._held.close()  # type: ignore[union-attr]  # noqa: SLF001 - as the system does it when a process ends

    Folder(tmp_path, "c-1-").prepare()

    assert len(_folders(tmp_path)) == 2
    going_on.publish(file)
    assert (tmp_path / "a-1-file.arrow").exists()


def test_what_a_killed_run_of_the_same_load_left_is_removed(tmp_path: Path) -> None:
    killed = Folder(tmp_path, "a-1-")
    killed.prepare()
    killed.create("a-1-file.arrow").finish()
    killed._held.close()  # type: ignore[union-attr]  # noqa: SLF001 - as the system does it when a process ends

    again = Folder(tmp_path, "a-1-")
    again.prepare()

    [folder] = _folders(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["lock"]
    again.close(others=False)
    assert not _folders(tmp_path)


def test_what_an_interrupted_clean_up_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed while it removes its files may have removed the lock, but not the rest."""
    killed = Folder(tmp_path, "b-1-")
    killed.prepare()
    killed.create("b-1-file.arrow")
    monkeypatch.setattr(shutil, "rmtree", lambda folder, **_: (folder / "lock").unlink())
    killed._remove_rest(others=False)  # noqa: SLF001 - the end, without what it begins with
    monkeypatch.undo()
    assert [path.suffix for path in _folders(tmp_path)] == [".gone"]

    again = Folder(tmp_path, "a-1-")
    again.prepare()
    again.close(others=False)

    assert not _folders(tmp_path)


@pytest.mark.parametrize("tag", ["v1.0/../../../escaped/x", "..", "{abs}", "a\0b"])
def test_a_version_tag_does_not_lead_out_of_the_root(tmp_path: Path, tag: str) -> None:
    """It comes from the server; neither a file is created there, nor published that a worker names so."""
    root = tmp_path / "lake/root"
    output = _output(root, prefix="{version}/", version=tag.format(abs=tmp_path / "abs/x"))
    inside = Folder(root, "a-1-")

    with output.writing():
        with pytest.raises(StorageError, match=r"leads out of the root.*Leave \{version\} out of the prefix"):
            list(output.chunks("a", 0, iter([_rows("arrow", 0, 3)])))
        inside.prepare()
        with pytest.raises(StorageError, match="leads out of the root"):
            inside.publish(replace(inside.create("a-1-file").finish(), name=output.name("a", 0)))
        inside.close(others=False)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_two_runs_do_not_write_the_same_load_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_redivis.batch.storage.folder._SECONDS_BETWEEN_TRIES", 0)
    kept = Folder(tmp_path, "a-1-")
    kept.prepare()

    with pytest.raises(StorageError, match="End the other run"):
        Folder(tmp_path, "a-1-").prepare()


def test_a_load_that_another_run_takes_for_abandoned_while_it_begins_is_locked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that was locked is not there any more: another run had looked before, and removes it now."""
    remove, locks = folder_module._remove, []  # noqa: SLF001 - what the other run does

    def lock_too_late(file: IO[bytes]) -> bool:
        if not locks:
            remove(Path(file.name).parent)
        locks.append(file)
        return True

    monkeypatch.setattr("tap_redivis.batch.storage.folder._is_locked_now", lock_too_late)
    storage = Folder(tmp_path, "a-1-")
    storage.prepare()

    storage.publish(storage.create("a-1-file.arrow").finish())
    assert (tmp_path / "a-1-file.arrow").exists()
    assert len(locks) == 2


def test_a_finished_file_is_published_by_another_process(tmp_path: Path) -> None:
    """It is a value that can be sent: where it was written is another storage than where it is published."""
    tap, worker = Folder(tmp_path, "a-1-"), Folder(tmp_path, "a-1-")
    tap.prepare()
    file = worker.create("a-1-file.arrow")
    file.write(b"rows")

    tap.publish(pickle.loads(pickle.dumps(file.finish())))  # noqa: S301 - what this test is about

    assert (tmp_path / "a-1-file.arrow").read_bytes() == b"rows"


def test_a_file_of_a_run_that_left_no_state_is_replaced(tmp_path: Path) -> None:
    for count in (2, 3):
        output = _output(tmp_path)
        with output.writing():
            [path] = _published(output, output.chunks("a", 0, iter([_rows("arrow", 0, count)])))

    assert len(records_in(path)) == 3
    assert len(list(tmp_path.rglob("*.arrow"))) == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("rows", [3, 300_000])
def test_a_full_disk_is_one_clear_error(
    tmp_path: Path, encoding: str, rows: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says what to do; /dev/full is a disk that is always full.

    Arrow says nothing beside it: what it still holds it writes even when it is forgotten, and shows errors of that.
    """
    output = _output(tmp_path, encoding)
    (tmp_path / "partial").symlink_to("/dev/full")
    sink = (tmp_path / "partial").open("wb", buffering=0)  # notices it at once
    full = PartialFile(tmp_path / "partial", tmp_path / "full", sink)
    monkeypatch.setattr(output.storage, "_open", lambda _: full)

    with pytest.raises(StorageError, match=rf"^{tmp_path}/visits.* no space left on device.*Make room and run again"):
        list(output.chunks("a", 0, iter([_rows(encoding, 0, rows)])))
    gc.collect()

    assert not capfd.readouterr().err


@pytest.mark.parametrize(("number", "words"), [(errno.EACCES, "Let the tap's user write"), (errno.EIO, "Check batch")])
def test_errors_of_the_file_system_say_what_to_do(number: int, words: str) -> None:
    with pytest.raises(StorageError, match=words), storage_errors("/data/x"):
        raise OSError(number, "x")


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken for abandoned there."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    other, storage = Folder(tmp_path, "a-1-"), Folder(tmp_path, "b-1-")
    other.prepare()
    storage.prepare()

    storage.publish(storage.create("file.arrow").finish())

    assert (tmp_path / "file.arrow").exists()
    assert len(_folders(tmp_path)) == 2


# --- names stay inside the root --------------------------------------------------------------------------------------


def test_a_link_below_the_root_does_not_lead_out_of_it(tmp_path: Path) -> None:
    """What is written there would be found by nobody who looks below the root."""
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "v1.0").symlink_to(elsewhere)
    output = _output(root, prefix="{version}/")

    with output.writing(), pytest.raises(StorageError, match="leads out of the root"):
        list(output.chunks("a", 0, iter([_rows("arrow", 0, 3)])))

    assert not list(elsewhere.iterdir())


def test_a_root_that_is_a_link_is_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    output = _output(tmp_path / "link", prefix="{version}/")

    with output.writing():
        for chunk in output.chunks("a", 0, iter([_rows("arrow", 0, 3)])):
            output.publish(chunk)

    assert len(list((tmp_path / "real" / "v1.0").iterdir())) == 1
