"""Steps with jobs: queries, and exports to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import redivis
from redivis.classes.Export import Export

from tests.conformance.client.steps import FOLDER, analysis, draft, error_of, medicare, step, table


@step
def csv_export() -> Any:
    (path,) = table("visits").download(f"{FOLDER}/visits.csv", format="csv", progress=False)
    return Path(path).read_text().splitlines()[0]


@step
def query() -> Any:
    sql = "SELECT id, clinic, cost FROM `demo.medicare:v1_1.visits` WHERE id < 1000 ORDER BY id"
    return redivis.query(sql).to_arrow_table(progress=False)


@step
def query_of_a_draft() -> Any:
    return redivis.query("SELECT * EXCEPT(_upload_name) FROM `demo.medicare:next.seen`").to_arrow_table(progress=False)


@step
def query_in_a_dataset() -> Any:
    found = redivis.dataset("demo.medicare").query("SELECT COUNT(*) AS n, MAX(seen_at) AS last FROM visits")
    return [[each.name, each.properties["type"]] for each in found.list_variables()]


@step
def query_in_a_workflow() -> Any:
    return analysis().query("SELECT * FROM summary").to_arrow_table(progress=False)


@step
def query_that_fails() -> Any:
    try:
        redivis.query("SELECT nothing FROM `demo.medicare.visits`").to_arrow_table(progress=False)
    except redivis.exceptions.RedivisError as error:
        return [type(error).__name__, str(error)]
    return None


@step
def all_types_by_query() -> Any:
    return medicare().get().query("SELECT * FROM all_types").to_arrow_table(progress=False)


@step
def query_get() -> Any:
    found = redivis.query("SELECT id, cost FROM `demo.medicare.visits` LIMIT 3").get()
    limited = found.list_variables(max_results=1)
    return [found["status"], found["outputNumRows"], len(limited), found.variable("cost").get()["type"]]


@step
def query_with_bare_names() -> Any:
    sql = "SELECT COUNT(*) AS n FROM visits, summary"
    return analysis().query(sql).to_arrow_table(progress=False).to_pylist()


@step
def query_by_reference_ids() -> Any:
    sql = "SELECT COUNT(*) AS n FROM `demo.:a1b2.:v1s1`"
    return redivis.query(sql).to_arrow_table(progress=False).to_pylist()


@step
def downloads() -> Any:
    """The number of rows of each file that an export is downloaded to."""
    query = redivis.query("SELECT id FROM `demo.medicare.visits`")
    upload = draft("seen").upload("visits.parquet")
    readers = {"table": table("visits"), "query": query, "upload": upload, "workflow": analysis().table("summary")}
    found = {}
    for name, reader in readers.items():
        for form in ("csv", "ndjson", "parquet"):
            folder = f"{FOLDER}/downloads/{name} {form}/"
            (path,) = reader.download(folder, format=form, progress=False)
            rows = pq.read_table(path).num_rows if form == "parquet" else Path(path).read_text().count("\n")
            found[f"{name} {form}"] = rows - (form == "csv")
    return found


@step
def download_again() -> Any:
    path = f"{FOLDER}/again.csv"
    table("visits").download(path, progress=False)
    refused = error_of(lambda: table("visits").download(path, progress=False))
    table("visits").download(path, overwrite=True, max_concurrency=2, progress=False)
    return [refused[:1], Path(path).read_text().count("\n")]


@step
def unknown_export_formats() -> Any:
    forms = ("avro", "dta", "sav")
    return [error_of(lambda each=each: table("visits").download(f"{FOLDER}/x", format=each))[:1] for each in forms]


@step
def export_by_hand() -> Any:
    begun = redivis.make_api_request(method="POST", path=f"{table('visits').uri}/exports", payload={"format": "csv"})
    export = Export(begun["id"], properties=begun)
    export.wait_for_finish(progress=False)
    (path,) = export.get().download_files(path=f"{FOLDER}/by_hand.csv", progress=False)
    return [export["status"], export["fileCount"], Path(path).stat().st_size == export["size"]]
