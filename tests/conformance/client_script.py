"""What the official client does: every row of the table in redivis-api §10, each as a step.

This file is run by the interpreter of the client's own environment, where nothing of ours is installed. It writes what
the steps return into the folder that it is given: `answers.json`, and `<step>.arrow` for steps that return a table.
"""

from __future__ import annotations

import base64
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import redivis

FOLDER = Path(sys.argv[1])
STEPS: dict[str, Callable[[], Any]] = {}


def step(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a function to be called by `main`."""
    STEPS[function.__name__] = function
    return function


def _dataset() -> Any:
    return redivis.organization("demo").dataset("medicare")


def _table(name: str) -> Any:
    return _dataset().table(name)


def _names(things: list[Any]) -> list[list[str]]:
    return [[thing.name, thing.qualified_reference, thing.scoped_reference] for thing in things]


def _from_pandas(frame: Any) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()


def _from_batches(batches: Any) -> pa.Table:
    return pa.Table.from_batches(list(batches))


@step
def list_datasets() -> Any:
    return [_names(owner.list_datasets()) for owner in (redivis.organization("demo"), redivis.user("alice"))]


@step
def list_tables() -> Any:
    return _names(_dataset().list_tables())


@step
def dataset_get() -> Any:
    found = _dataset().get()
    return [*_names([found])[0], found.uri, found.properties["version"]["tag"], found.properties["nextVersion"]["tag"]]


@step
def list_versions() -> Any:
    return [[version.tag, version.uri] for version in _dataset().get().list_versions()]


@step
def versions() -> Any:
    newest = _dataset().get().version("v1.1").get()
    by_dot = redivis.dataset("demo.medicare", version="1.0").version().get()
    return {
        "uri": newest.uri,
        "previous": newest.previous_version().get().uri,
        "next": newest.next_version().tag,
        "first": newest.previous_version().previous_version(),
        "by dot": by_dot.uri,
        "released": [newest.properties["isReleased"], newest.next_version().get().properties["isReleased"]],
    }


@step
def exists() -> Any:
    there = [_dataset(), _dataset().version("v1.0"), _table("visits"), _table("visits").variable("COST")]
    there += [redivis.workflow("demo.analysis"), redivis.organization("demo")]
    absent = [redivis.dataset("demo.nothing"), _dataset().version("v7.0"), _table("nothing")]
    absent += [redivis.workflow("demo.nothing"), redivis.organization("nobody")]
    return [[thing.exists() for thing in things] for things in (there, absent)]


@step
def not_found() -> Any:
    try:
        _table("nothing").get()
    except redivis.exceptions.NotFoundError as error:
        return str(error)
    return None


@step
def unknown_owner_kind() -> Any:
    def kinds(name: str) -> list[bool]:
        got, guessed = redivis.dataset(name).get(), redivis.dataset(name)
        guessed._rectify_ambiguous_owner()  # noqa: SLF001 - what create() asks first, without creating
        return [bool(dataset.organization) for dataset in (got, guessed)]

    return {name: kinds(name) for name in ("demo.medicare", "alice.trials")}


@step
def list_variables() -> Any:
    listed = _table("all_types").list_variables()
    cost = _table("visits").variable("cost").get()
    return {
        "all_types": [[variable.name, variable.properties["type"]] for variable in listed],
        "uri": listed[6].uri,
        "cost": [cost.properties["label"], cost.properties["description"]],
        "paid": _table("visits").variable("paid").get().properties["valueLabels"],
    }


@step
def variables_on_two_pages() -> Any:
    return [variable.name for variable in _table("wide").list_variables()]


@step
def wide_by_rows() -> Any:
    return _table("wide").to_arrow_table(progress=False)


@step
def table_get() -> Any:
    found = _table("visits").get()
    kept = {key: found.properties[key] for key in ("numRows", "numBytes", "variableCount", "description")}
    return [*_names([found])[0], found.uri, found.properties["container"]["kind"], kept]


@step
def name_with_spaces() -> Any:
    by_name = _table("Medicare 20% [2006-2018] Carrier").get()
    return [by_name.name, by_name.uri == redivis.table("demo.medicare.medicare_20_2006_2018_carrier").get().uri]


@step
def arrow_by_rows() -> Any:
    return _table("visits").to_arrow_table(progress=False)


@step
def arrow_of_a_version() -> Any:
    return redivis.dataset("demo.medicare", version="v1.0").table("visits").to_arrow_table(progress=False)


@step
def some_variables_by_rows() -> Any:
    return _table("visits").to_arrow_table(variables=["SEEN_AT", "id"], progress=False)


@step
def some_rows_by_rows() -> Any:
    return _table("visits").to_arrow_table(max_results=123, progress=False)


@step
def pandas_by_rows() -> Any:
    return _from_pandas(_table("visits").to_pandas_dataframe(progress=False))


@step
def all_types_by_rows() -> Any:
    return _table("all_types").to_arrow_table(progress=False)


@step
def all_types_by_session() -> Any:
    return _table("all_types_session").to_arrow_table(progress=False)


@step
def all_types_by_export() -> Any:
    return _table("all_types_export").to_arrow_table(progress=False)


@step
def all_types_by_query() -> Any:
    return _dataset().get().query("SELECT * FROM all_types").to_arrow_table(progress=False)


@step
def retyped_by_rows() -> Any:
    return _table("retyped").to_arrow_table(progress=False)


@step
def empty_by_rows() -> Any:
    return _table("empty").to_arrow_table(progress=False)


@step
def empty_by_session() -> Any:
    return _table("empty_session").to_arrow_table(progress=False)


@step
def arrow_by_session() -> Any:
    return _table("visits_session").to_arrow_table(progress=False, max_parallelization=4)


@step
def some_variables_by_session() -> Any:
    return _table("visits_session").to_arrow_table(variables=["seen_on", "ID"], progress=False)


@step
def some_rows_by_session() -> Any:
    return _table("visits_session").to_arrow_table(max_results=15_000, progress=False)


@step
def pandas_by_session() -> Any:
    return _from_pandas(_table("visits_session").to_pandas_dataframe(progress=False))


@step
def dataset_by_session() -> Any:
    return _table("visits_session").to_arrow_dataset(progress=False).to_table()


@step
def iterator_by_rows() -> Any:
    return _from_batches(_table("visits").to_arrow_batch_iterator(progress=False))


@step
def iterator_by_session() -> Any:
    return _from_batches(_table("visits_export").to_arrow_batch_iterator(progress=False))


@step
def arrow_by_export() -> Any:
    return _table("visits_export").to_arrow_table(progress=False)


@step
def pandas_by_export() -> Any:
    return _from_pandas(_table("visits_export").to_pandas_dataframe(progress=False))


@step
def csv_export() -> Any:
    (path,) = _table("visits").download(f"{FOLDER}/visits.csv", format="csv", progress=False)
    return Path(path).read_text().splitlines()[0]


@step
def list_rows() -> Any:
    try:
        _table("visits").list_rows()
    except redivis.exceptions.DeprecationError:
        return "deprecated"
    return None


@step
def read_streams() -> Any:
    streams = _table("visits").to_read_streams(4)
    return pa.concat_tables(stream.to_arrow_table(progress=False) for stream in streams)


@step
def read_stream_counts() -> Any:
    streams = _table("visits").to_read_streams(4)
    return [len(streams), sum(stream.properties["estimatedRows"] for stream in streams)]


@step
def some_variables_by_read_streams() -> Any:
    streams = _table("visits").to_read_streams(2, variables=["paid", "id"])
    return pa.concat_tables(stream.to_arrow_table(progress=False) for stream in streams)


@step
def query() -> Any:
    sql = "SELECT id, clinic, cost FROM `demo.medicare:v1_1.visits` WHERE id < 1000 ORDER BY id"
    return redivis.query(sql).to_arrow_table(progress=False)


@step
def query_in_a_dataset() -> Any:
    found = redivis.dataset("demo.medicare").query("SELECT COUNT(*) AS n, MAX(seen_at) AS last FROM visits")
    return [[each.name, each.properties["type"]] for each in found.list_variables()]


@step
def query_in_a_workflow() -> Any:
    return redivis.workflow("demo.analysis").query("SELECT * FROM summary").to_arrow_table(progress=False)


@step
def query_that_fails() -> Any:
    try:
        redivis.query("SELECT nothing FROM `demo.medicare.visits`").to_arrow_table(progress=False)
    except redivis.exceptions.RedivisError as error:
        return [type(error).__name__, str(error)]
    return None


@step
def list_files() -> Any:
    return [[str(file.path), file.size, base64.b64encode(file.hash).decode()] for file in _table("images").list_files()]


@step
def directory_read_again() -> Any:
    table = _table("images")
    return table.to_directory() is not None and len(table.to_directory().list(recursive=True, mode="files"))


@step
def download_file() -> Any:
    _table("images").file("2012/large.bin").download(f"{FOLDER}/large.bin", progress=False)
    return Path(f"{FOLDER}/large.bin").read_bytes().hex()


@step
def read_file_range() -> Any:
    return _table("images").file("2012/large.bin").read(start_byte=10, end_byte=19).hex()


@step
def download_directory() -> Any:
    folder = FOLDER / "images"
    _table("images").to_directory().download(str(folder), progress=False)
    return {str(path.relative_to(folder)): path.read_bytes().hex() for path in folder.rglob("*") if path.is_file()}


@step
def workflow_tables() -> Any:
    workflow = redivis.workflow("demo.analysis")
    own, all_of_them = workflow.list_tables(), workflow.list_tables(include_datasources=True)
    return {"own": [[table.name, table.uri] for table in own], "all": sorted(table.name for table in all_of_them)}


@step
def workflow_table() -> Any:
    (table,) = redivis.workflow("demo.analysis").list_tables()
    return table.to_arrow_table(progress=False)


@step
def inherited_table() -> Any:
    return redivis.workflow("demo.analysis").table("visits").to_arrow_table(progress=False)


def _uploads() -> list[Any]:
    return redivis.dataset("demo.medicare:next").table("claims").list_uploads()


@step
def list_uploads() -> Any:
    return [[upload.name, upload.properties["status"]] for upload in _uploads()]


@step
def upload_variables() -> Any:
    return {upload.name: [each.name for each in upload.list_variables()] for upload in _uploads()}


@step
def january_upload() -> Any:
    return next(each for each in _uploads() if each.name == "january.csv").to_arrow_table(progress=False)


@step
def february_upload() -> Any:
    return next(each for each in _uploads() if each.name == "february.csv").to_arrow_table(progress=False)


@step
def draft_by_read_streams() -> Any:
    streams = redivis.dataset("demo.medicare:next").table("claims").to_read_streams(1)
    return pa.concat_tables(stream.to_arrow_table(progress=False) for stream in streams)


@step
def current_user() -> Any:
    return redivis.current_user().name


def _answer(name: str, function: Callable[[], Any]) -> dict[str, Any]:
    try:
        answer = function()
    except Exception:  # noqa: BLE001 - each step is a test of its own, which shows what went wrong
        return {"error": traceback.format_exc()}
    if not isinstance(answer, pa.Table):
        return {"value": answer}
    with pa.OSFile(str(FOLDER / f"{name}.arrow"), "wb") as file, pa.ipc.new_file(file, answer.schema) as writer:
        writer.write_table(answer)
    return {}


def main() -> None:
    """Call all steps and write what they return."""
    answers = {name: _answer(name, function) for name, function in STEPS.items()}
    (FOLDER / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
