"""What files and YAML of the served folder become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from redivis_emulator import Emulator, FolderError
from tests.emulator.conftest import Client, read_arrow, write

ServeFolder = Callable[..., Client]


def test_csv_types_are_guessed(folder: Path, client: Client) -> None:
    """Types come from the values; an unquoted empty field is null, a quoted one the empty string."""
    write(folder, "acme/csv/t.csv", 'i,f,b,d,at,clock,s,none\n1,0.5,true,2012-01-01,2012-01-01 01:02:03,10:00:00,"",\n')
    client.emulator.reload()
    kinds = {v["name"]: v["type"] for v in client.json("/tables/acme.csv.t/variables")["results"]}
    assert kinds == {
        "i": "integer",
        "f": "float",
        "b": "boolean",
        "d": "date",
        "at": "dateTime",
        "clock": "time",
        "s": "string",
        "none": "string",
    }
    row = '{"i":1,"f":0.5,"b":true,"d":"2012-01-01","at":"2012-01-01 01:02:03","clock":"10:00:00","s":"","none":null}\n'
    assert client.get("/tables/acme.csv.t/rows").text == row


def test_jsonl_keeps_large_integers(folder: Path, client: Client) -> None:
    """An int64 beyond 2^53 is exact, and an absent key is null."""
    write(folder, "acme/lines/t.jsonl", '{"a":9007199254740993,"b":"x"}\n{"a":-1}\n')
    client.emulator.reload()
    lines = client.get("/tables/acme.lines.t/rows").text.splitlines()
    assert sorted(lines) == ['{"a":-1,"b":null}', '{"a":9007199254740993,"b":"x"}']


def test_a_declared_type_converts_the_data(folder: Path, client: Client) -> None:
    """`type` alone changes what is stored; leading zeros survive as text."""
    write(folder, "acme/typed/t.csv", "code,place,number\n007,POINT (1 2),1\n")
    write(
        folder,
        "acme/typed/dataset.yml",
        "tables: {t: {variables: {code: {type: string}, place: {type: geography}, number: {type: float}}}}",
    )
    client.emulator.reload()
    assert client.get("/tables/acme.typed.t/rows").text == '{"code":"007","place":"POINT (1 2)","number":1.0}\n'
    assert client.json("/tables/acme.typed.t/variables/PLACE")["type"] == "geography"


def test_a_retyped_variable_is_text_on_the_wire(folder: Path, client: Client) -> None:
    """redivis-api §6.2: the variable says integer, the rows say string."""
    write(folder, "acme/retyped/t.csv", "n\n42\n")
    write(folder, "acme/retyped/dataset.yml", "tables: {t: {variables: {n: {type: integer, stored: string}}}}")
    client.emulator.reload()
    assert client.json("/tables/acme.retyped.t/variables/n")["type"] == "integer"
    assert client.get("/tables/acme.retyped.t/rows").text == '{"n":"42"}\n'


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        ("arrow_strings: large_utf8", "large_string"),
        ("arrow_strings: dictionary", "dictionary<values=string, indices=int32, ordered=0>"),
        ("arrow_compression: zstd", "string"),
        ("arrow_compression: lz4", "string"),
    ],
)
def test_other_arrow_encodings(folder: Path, client: Client, note: str, kind: str) -> None:
    """The same rows in what else Arrow readers must understand (redivis-api §11.12)."""
    whole = read_arrow(client.get("/tables/acme.numbers.numbers/rows", format="arrow").content)
    write(folder, "acme/numbers/dataset.yml", f"tables: {{numbers: {{{note}}}}}")
    client.emulator.reload()
    session = client.session("acme.numbers.numbers", requestedStreamCount=3)
    streams = [read_arrow(client.stream(session, n, eosSentinel="true").content) for n in range(3)]
    encoded = pa.concat_tables(streams, promote_options="permissive")
    assert str(encoded.schema.field("name").type) == kind
    assert encoded.cast(whole.schema).sort_by("id").equals(whole.sort_by("id"))


def test_versions_are_folders(folder: Path, client: Client) -> None:
    """Versions are ordered by number, the highest is current, and a table keeps its id through all of them."""
    for version in ("v1.0", "v1_2", "v1.10"):
        write(folder, f"acme/versions/{version}/t.csv", f"a\n{version}\n")
    write(folder, "acme/versions/next/t.csv", "a\ndraft\n")
    client.emulator.reload()
    tags = [v["tag"] for v in client.json("/datasets/acme.versions/versions")["results"]]
    assert tags == ["next", "v1.10", "v1.2", "v1.0"]
    assert client.json("/datasets/acme.versions")["version"]["tag"] == "v1.10"
    ids = {client.json(f"/tables/acme.versions:{v}.t")["id"] for v in ("v1_0", "v1.2", "next")}
    assert len(ids) == 1
    assert client.get("/tables/acme.versions:next.t/rows").text == '{"a":"draft"}\n'


def test_the_yaml_says_what_files_cannot(folder: Path, client: Client) -> None:
    """Names, ids, labels, hashes, value labels and the rest come out where redivis-api §5 has them."""
    write(folder, "acme/noted/t.csv", "sex\n1\n")
    write(folder, "acme/owner.yml", "{kind: user, full_name: Acme Inc}")
    write(
        folder,
        "acme/noted/dataset.yml",
        """
name: My Dataset
id: ab12-abcdefghi
description: All of it
labels: [one]
doi: 10.1/x
versions: {v1.0: {label: First, release_notes: Hello}}
tables:
  t:
    name: The Table
    hash: abc
    num_rows: 7
    entity: person
    variables: {sex: {label: Sex, description: As told, value_labels: {1: male}}}
""",
    )
    client.emulator.reload()
    dataset = client.json("/datasets/acme.:ab12")
    assert dataset["qualifiedReference"] == "acme.my_dataset:ab12:v1_0"
    assert dataset["owner"] == {"kind": "user", "name": "acme", "fullName": "Acme Inc", "ror": None}
    assert (dataset["doi"], dataset["labels"], dataset["version"]["label"]) == ("10.1/x", ["one"], "First")
    table = client.json("/tables/acme.my_dataset.The Table")
    assert (table["name"], table["hash"], table["numRows"], table["entity"]) == (
        "The Table",
        "abc",
        7,
        {"name": "person"},
    )
    variable = client.json(f"{table['uri']}/variables/sex")
    assert (variable["label"], variable["description"]) == ("Sex", "As told")
    assert variable["valueLabels"] == [{"value": "1", "label": "male"}]
    assert client.json("/datasets/acme.:ab12/versions/v1.0")["releaseNotes"] == "Hello"


def test_the_hash_follows_the_content(folder: Path, client: Client) -> None:
    """Equal files have equal hashes, in all versions; other content has another."""
    for version, content in {"v1.0": "a\n1\n", "v1.1": "a\n1\n", "v1.2": "a\n2\n"}.items():
        write(folder, f"acme/hashed/{version}/t.csv", content)
    client.emulator.reload()
    first, second, third = (client.json(f"/tables/acme.hashed:{v}.t")["hash"] for v in ("v1.0", "v1.1", "v1.2"))
    assert first == second != third


def test_a_deleted_version_is_gone(folder: Path, client: Client) -> None:
    """It stays listed, but its tables cannot be reached (redivis-api §5, §11.27)."""
    for version in ("v1.0", "v1.1"):
        write(folder, f"acme/deleted/{version}/t.csv", "a\n1\n")
    write(folder, "acme/deleted/dataset.yml", "versions: {v1.0: {is_deleted: true}}")
    client.emulator.reload()
    listed = {v["tag"]: v["isDeleted"] for v in client.json("/datasets/acme.deleted/versions")["results"]}
    assert listed == {"v1.0": True, "v1.1": False}
    assert client.get("/tables/acme.deleted:v1.0.t").status_code == 404


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("acme/bad/dataset.yml", "name: [", "dataset.yml: broken YAML, line 1"),
        ("acme/bad/dataset.yml", "\n\nname: x\n y: z", "broken YAML, line 4"),
        ("acme/bad/dataset.yml", "tables: {t: {colour: red}}", "unknown field `colour` - at `$.tables[...]`"),
        (
            "acme/bad/dataset.yml",
            "tables: {t: {variables: {zz: {label: x}}}}",
            "tables.t.variables.zz: there is no such column",
        ),
        (
            "acme/bad/dataset.yml",
            "tables: {tt: {}}",
            "dataset.yml: tables.tt: there is no such table",
        ),
        ("acme/bad/dataset.yml", "versions: {v1.0: {tables: {tt: {}}}}", "dataset.yml: versions.v1.0.tables.tt: there"),
        ("acme/bad/workflow.yml", "tables: {t: {variables: {b: {}}}}", "workflow.yml: tables.t.variables.b: there"),
        ("acme/bad/t.jsonl", '{"a":1}', "bad: there are two files of the table t"),
        ("acme/bad/dataset.yml", "tables: {t: {variables: {a: {type: integer}}}}", "t.csv"),
        ("acme/bad/dataset.yml", "versions: {v9.0: {}}", "no folder for v9.0"),
        ("acme/bad/dataset.yml", "current_version: v9.0", "no version 'v9.0'"),
        ("acme/bad/x.parquet", "PAR1", "x.parquet"),
        ("acme/bad/x.csv", "", "x.csv: the file is empty"),
        ("acme/bad/x.csv", "a,b\n1\n", "x.csv"),
        ("acme/bad/x.jsonl", "{", "x.jsonl"),
        ("emulator.yml", "tokens: {x: {scopes: data}}", "emulator.yml"),
    ],
)
def test_what_cannot_be_served_is_named(folder: Path, path: str, content: str, message: str) -> None:
    """The error is one line that names the file and the place in it."""
    write(folder, "acme/bad/t.csv", "a\nx\n")
    write(folder, path, content)
    with pytest.raises(FolderError) as raised:
        Emulator(folder)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_yaml_is_for_all_versions(folder: Path, client: Client) -> None:
    """A table or column that only one version has may be described for all; lines keep the order of their columns."""
    write(folder, "acme/growing/v1.0/t.jsonl", '{"a":1,"b":"2012-01-01"}\n')
    write(folder, "acme/growing/v1.1/t.jsonl", '{"a":1,"b":"2012-01-01","c":"2012-01-01"}\n')
    write(folder, "acme/growing/v1.1/u.csv", "a\n1\n")
    types = "{b: {type: string}, c: {type: string}}"
    write(folder, "acme/growing/dataset.yml", f"tables: {{t: {{variables: {types}}}, u: {{description: New}}}}")
    client.emulator.reload()
    assert client.get("/tables/acme.growing:v1.0.t/rows").text == '{"a":1,"b":"2012-01-01"}\n'
    assert client.get("/tables/acme.growing.t/rows").text == '{"a":1,"b":"2012-01-01","c":"2012-01-01"}\n'


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="nowhere: no such folder"):
        Emulator(tmp_path / "nowhere")


def test_nested_columns_are_refused(folder: Path) -> None:
    """Redivis has no type for them."""
    write(folder, "acme/nested/t.parquet", pa.table({"a": [[1, 2]]}))
    with pytest.raises(FolderError, match="column 'a' has type list"):
        Emulator(folder)


def test_sessions_outlive_a_reload(folder: Path, client: Client) -> None:
    """A session serves what it was opened on, though the file has changed since."""
    write(folder, "acme/changing/t.csv", "a\nold\n")
    client.emulator.reload()
    session = client.session("acme.changing.t", format="jsonl")
    write(folder, "acme/changing/t.csv", "a\nnew\nnewer\n")
    client.emulator.reload()
    assert client.stream(session).text == '{"a":"old"}\n'
    assert client.json("/tables/acme.changing.t")["numRows"] == 2
