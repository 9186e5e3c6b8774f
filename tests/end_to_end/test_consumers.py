"""Who reads BATCH files: a target with files in a folder and in a bucket, and the Arrow reader of another."""

from __future__ import annotations

import csv
import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.end_to_end.conftest import VISITS
from tests.support.batches import VERSION_COLUMNS, batch_config
from tests.support.buckets import S3
from tests.support.environments import environment
from tests.support.pipes import Json, Program, pipe, target
from tests.support.served import Site

_CSV = "meltanolabs-target-csv"
_TO_PARQUET = """
import sys
from target_snowflake.arrow_batch import convert_arrow_manifest_to_parquet
print("\\n".join(convert_arrow_manifest_to_parquet(sys.argv[2:], sys.argv[1])))
"""


@pytest.mark.parametrize(("files", "settings"), [({}, {"add_record_metadata": True}), ({"version_columns": False}, {})])
def test_a_csv_target_reads_json_lines(site: Site, files: Json, settings: Json) -> None:
    """With the columns that it must know as its own, or without them."""
    config = batch_config("jsonl", site.files / "out", batch_size=300, **files)

    done = pipe(site.tap(batch_config=config), _to_csv(site, settings))

    assert (done.tap.exit_code, done.target.exit_code) == (0, 0), done.target.stderr
    assert _ids(site) == sorted(VISITS["id"].to_pylist())


def test_a_csv_target_reads_from_a_bucket(site: Site, s3: S3) -> None:
    """A target of the SDK does where s3fs is installed beside it, with its own credentials from the environment."""
    config = batch_config("jsonl", f"s3://{s3.bucket()}/lake", batch_size=300)
    tap, to_csv = site.tap(batch_config=config), _to_csv(site, {"add_record_metadata": True})
    with_s3fs = {**s3.variables, "PYTHONPATH": sysconfig.get_path("purelib")}

    done = pipe(
        replace(tap, variables={**tap.variables, **s3.variables}),
        replace(to_csv, variables={**to_csv.variables, **with_s3fs}),
    )

    assert (done.tap.exit_code, done.target.exit_code) == (0, 0), done.target.stderr
    assert _ids(site) == sorted(VISITS["id"].to_pylist())


def test_the_reader_of_target_snowflake_reads_arrow(demo_site: Site) -> None:
    """Its code from the manifest to the Parquet files that it would upload; all eight types at their extremes."""
    source = pq.read_table(demo_site.folder / "demo/types/all_types.parquet")
    done = demo_site.sync(tables=["demo.types.all_types"], batch_config=batch_config("arrow", demo_site.files / "out"))
    manifest = [url for message in done.messages if message["type"] == "BATCH" for url in message["manifest"]]

    python = environment("meltanolabs-target-snowflake").python
    command = [str(python), "-c", _TO_PARQUET, str(demo_site.files / "uploaded"), *manifest]
    converted = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    paths = [unquote(url.removeprefix("file://")) for url in converted]
    found = pa.concat_tables(map(pq.read_table, paths)).drop_columns(list(VERSION_COLUMNS))
    assert found.sort_by("row").equals(source)


def _to_csv(site: Site, settings: Json) -> Program:
    (site.files / "csv").mkdir()
    return target(_CSV, site.files, {"output_path": str(site.files / "csv"), **settings})


def _ids(site: Site) -> list[int]:
    [path] = (site.files / "csv").glob("*.csv")
    with Path(path).open(newline="") as lines:
        return sorted(int(row["id"]) for row in csv.DictReader(lines))
