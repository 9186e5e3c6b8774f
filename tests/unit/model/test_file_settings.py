"""The setting `files` is read or refused with its place, and each table has one variable that names files, or none."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tap_redivis.errors import ConfigError
from tap_redivis.model.file_settings import DEFAULT_FILE_NAME, FileSettings, file_settings
from tap_redivis.model.settings import Settings
from tap_redivis.singer.config_schema import CONFIG_SCHEMA


@pytest.mark.parametrize("config", [None, {}, {"root": None, "tables": None}, {"root": "", "tables": [], "name": ""}])
def test_nothing_set_is_nothing(config: dict[str, Any] | None) -> None:
    """`--config=ENV` gives an object of empty values."""
    assert file_settings(config) is None


def test_there_are_defaults() -> None:
    assert file_settings({"root": "out"}) == FileSettings("out", None, DEFAULT_FILE_NAME)


def test_all_can_be_set() -> None:
    config = {"root": "s3://bucket/x", "tables": ["scan*"], "name": "{version}/{file_id}"}

    assert file_settings(config) == FileSettings("s3://bucket/x", ("scan*",), "{version}/{file_id}")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"tables": ["scans"]}, r"files\.root: it is no folder and no bucket\. Name one"),
        ({"name": "{file_id}"}, r"files\.root: "),
        ({"root": "a\0b"}, r"files\.root: "),
        ({"root": "out", "name": "{stream}"}, r"files\.name: .*other names.* Use \{owner\}, \{dataset\}"),
        ({"root": "out", "name": "{}"}, r"files\.name: "),
        ({"root": "out", "name": "{0}"}, r"files\.name: "),
        ({"root": "out", "name": "{file_id"}, r"files\.name: .* is no template"),
        ({"root": "out", "name": "{file_id.x}"}, r"files\.name: .*other names"),
        ({"root": "out", "name": "{file_id:d}"}, r"files\.name: .* is no template"),
        ({"root": "out", "name": "{file_id:{version}}"}, r"files\.name: .* is no template"),
        ({"root": "out", "name": "{file_id:{x}}"}, r"files\.name: .* is no template"),
        ({"root": "out", "name": "../{file_id}"}, r"files\.name: .*leads out of the root"),
        ({"root": "out", "name": "a/../../{file_id}"}, r"files\.name: .*leads out of the root"),
        ({"root": "out", "name": "/{file_id}"}, r"files\.name: .*leads out of the root"),
    ],
)
def test_what_cannot_be_meant_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"^{words}"):
        Settings.from_config({"files": config})


@pytest.mark.parametrize("files", ["out", {"rot": "out"}, {"root": 5}, {"root": "out", "tables": "scans"}])
def test_the_schema_refuses_other_shapes(files: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"files": files}, CONFIG_SCHEMA)


# --- which variable names the files ----------------------------------------------------------------------------------


def _variable(table: str, *, is_index: bool, files: Any = None, **options: str) -> str | None:
    table_options = {pattern: {"file_variable": variable} for pattern, variable in options.items()}
    settings = Settings.from_config({"files": files, "table_options": table_options})
    return settings.file_variable_of(table, is_index=is_index)


@pytest.mark.parametrize(
    ("tables", "table", "is_index", "variable"),
    [
        (None, "scans", True, "file_id"),
        (["scan*"], "Scans", True, "file_id"),
        (["x", "s?ans"], "scans", True, "file_id"),
        (["scan"], "scans", True, None),
        (["scans"], "scans", False, None),
        (None, "scans", False, None),
    ],
)
def test_files_of_index_tables_are_wanted_by_name(
    tables: list[str] | None, table: str, variable: str | None, *, is_index: bool
) -> None:
    assert _variable(table, is_index=is_index, files={"root": "out", "tables": tables}) == variable


def test_without_the_setting_no_files_are_wanted() -> None:
    assert _variable("scans", is_index=True) is None


def test_a_table_that_is_no_index_names_its_variable() -> None:
    root = {"root": "out", "tables": ["other"]}

    assert _variable("Visits", is_index=False, files=root, **{"vis*": "scan"}) == "scan"
    assert _variable("others", is_index=False, files=root, **{"vis*": "scan"}) is None
    assert _variable("visits", is_index=False, files=root, **{"vis*": "scan", "visits": "SCAN"}) == "SCAN"
    assert _variable("scans", is_index=True, files=root, scans="file_id") == "file_id"


@pytest.mark.parametrize(
    ("is_index", "options"), [(False, {"vis*": "scan", "visits": "letter"}), (True, {"*": "scan"})]
)
def test_two_variables_are_refused(options: dict[str, str], *, is_index: bool) -> None:
    """A row has one file."""
    words = r"^table_options for visits, file_variable: both \S+ and \S+ would name the files"

    with pytest.raises(ConfigError, match=words):
        _variable("visits", is_index=is_index, files={"root": "out"}, **options)


def test_a_variable_without_a_place_for_the_files_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no place for the files\. Set files\.root too"):
        _variable("visits", is_index=False, visits="scan")
