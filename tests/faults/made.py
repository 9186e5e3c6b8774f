"""Tables with everything in which one wire format might differ from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from tests.support.pipes import Json
from tests.support.served import visits, write_note, write_table

_TEXTS = [
    *("", " ", "\t", "\n", "\r\n", "a\rb", '"', '""', ",", "\\", "\\N", "'", "\x00", "\x1f", "\x7f", "\ufeff"),
    *("\u2028", "NA", "null", "NULL", "NaN", "true", "1", "1.0", "0x10", "-", "é", "e\u0301", "東京 🛫", "\uffff"),
    "x" * 300_000,
]
_SPELLINGS: Mapping[str, Sequence[str]] = {
    "integer": [
        *(
            "7",
            "+7",
            "-0",
            "007",
            " 7 ",
            "12.0",
            "12.5",
            "1e3",
            "1e-3",
            "0x1F",
            "1_000",
            "1,000",
            "٣",
            "",
            "abc",
            "NaN",
        ),
        *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "9007199254740993.0", "1e400"),
    ],
    "float": [
        *("7", "+7.5", ".5", "5.", " 0.1 ", "1e3", "1E-3", "0x1p3", "0x1F", "1_000.0", "1,5", "", "abc", "-0", "-0.0"),
        *("nan", "NaN", "inf", "-Infinity", "1e400", "1e-400", "0.1000000000000000055511151231257827"),
        "9007199254740993",
    ],
    "boolean": ["true", "FALSE", "True", "t", "T", "1", "0", " true ", "yes", "no", "2", "", "abc", "1.0"],
    "date": [
        *("2012-01-05", "2012-1-5", "2012-02-30", "2012-13-01", "0001-01-01", "9999-12-31", "0000-01-01", ""),
        *("20120105", "2012/01/05", " 2012-01-05 ", "2012-01-05 00:00:00", "2012-01-05 01:00:00", "1582-10-15"),
        *("12012-01-01", "abc"),
    ],
    "dateTime": [
        *("2012-01-05 01:02:03", "2012-1-5 1:2:3.5", "2012-01-05T01:02:03", "2012-01-05t01:02:03.123456"),
        *("2012-01-05", "2012-01-05 01:02", "2012-01-05 01", "2012-01-05 01:02:03Z", "2012-01-05 01:02:03+00:00"),
        *("2012-01-05 24:00:00", "2012-01-05 23:59:60", "2012-01-05 01:02:03+02:00", " 2012-01-05 01:02:03 "),
        *("2012-01-05 01:02:03.1234567", "2012-01-05 01:02:03.123456000", "0001-01-01 00:00:00", "", "abc"),
        "9999-12-31 23:59:59.999999",
    ],
    "time": [
        *("01:02:03", "1:2:3.25", "01:02", "01", "24:00:00", "23:59:60", "23:59:59.999999", "00:00:00.000001"),
        *(" 01:02:03 ", "01:02:03.1234567", "01:02:03.123456000", "1:02:03 PM", "", "abc", "-01:02:03"),
    ],
    "geography": ["POINT (1 2)", "", "POINT EMPTY", "abc"],
}
_MICROSECONDS = [0, 1_325_376_000_000_000, 1_325_376_000_000_001, -62_135_596_800_000_000, None]
_MOMENTS = pa.array(_MICROSECONDS, pa.timestamp("us"))
_CROSSED: Mapping[str, tuple[str, str, pa.Array]] = {  # by column: the variable's type, what is stored, the values
    "float_as_integer": ("integer", "float", pa.array([12.0, -0.0, 9007199254740992.0, 12.5, None])),
    "integer_as_float": ("float", "integer", pa.array([1, 2**53 + 1, -(2**63), 2**63 - 1, None])),
    "integer_as_boolean": ("boolean", "integer", pa.array([0, 1, 2, -1, None])),
    "boolean_as_integer": ("integer", "boolean", pa.array([True, False, None, True, False])),
    "moment_as_date": ("date", "dateTime", _MOMENTS),
    "date_as_moment": ("dateTime", "date", pa.array([0, 19000, -719162, 2932896, None], pa.date32())),
    "integer_as_text": ("string", "integer", pa.array([1, -(2**63), 2**53 + 1, 0, None])),
    "boolean_as_text": ("string", "boolean", pa.array([True, False, None, True, False])),
    "date_as_text": ("string", "date", pa.array([0, 19000, -719162, 2932896, None], pa.date32())),
    "moment_as_text": ("string", "dateTime", _MOMENTS),
    # Exponents below zero are spelled `1e-7` or `1e-07`: the text formats have what the server writes.
    "float_as_text": ("string", "float", pa.array([0.1, 12.0, 1e22, -1e-3, None])),
}
_NAMES = ["a b", 'say "hi"', "one, two", "ünïcode", "Mixed", "back\\slash", "{brace}", "version"]


def build(folder: Path) -> None:
    """Write the datasets `demo.made`, which is released, and `demo.drafts`, which has only a draft."""
    for name, table in _tables().items():
        write_table(folder, f"demo/made/v1.0/{name}", table)
    write_note(folder, "demo/made/dataset.yml", {"tables": _notes()})
    uploads = folder / "demo" / "drafts" / "next" / "claims"
    uploads.mkdir(parents=True)
    (uploads / "january.csv").write_text("id,cost,paid,note\n1,1.5,true,a\n2,,false,\n")
    (uploads / "february.csv").write_text('note,cost,id,extra\n"",7,3,only here\nb,8,4,\n')
    (uploads / "march.csv").write_text("id,cost\nfive,9.5\n")


def _tables() -> dict[str, pa.Table]:
    texts = pa.array([*_TEXTS, None], pa.string())
    few = pa.array([1, None, 3], pa.int64())
    nothing = {"row": few, "text": pa.nulls(3, pa.string()), "day": pa.nulls(3, pa.date32())}
    return {
        "many": visits(5000),
        "absent_nulls": visits(500),
        "only_nulls": pa.table({**nothing, "number": pa.nulls(3, pa.float64())}),
        "absent_only_nulls": pa.table({"text": pa.array([None, "", None]), "number": pa.array([None, 1, None])}),
        "empty": visits(0),
        "texts": pa.table({"text": texts, "row": pa.array(range(len(texts)))}),
        "one_text": pa.table({"text": texts}),
        "one_number": pa.table({"number": few}),
        "names": pa.table(dict.fromkeys(_NAMES, few)),
        "crossed": pa.table({name: values for name, (_, _, values) in _CROSSED.items()}),
        **{f"texts_{name}": pa.table({"text": texts}) for name in _ENCODINGS},
        **{f"spelled_{kind.lower()}": pa.table({"value": [*values, None]}) for kind, values in _SPELLINGS.items()},
    }


_ENCODINGS: Mapping[str, Json] = {
    "large": {"arrow_strings": "large_utf8"},
    "dictionary": {"arrow_strings": "dictionary"},
    "zstd": {"arrow_compression": "zstd"},
    "lz4": {"arrow_compression": "lz4"},
}


def _notes() -> Json:
    crossed = {name: {"type": kind, "stored": stored} for name, (kind, stored, _) in _CROSSED.items()}
    return {
        "absent_nulls": {"jsonl_nulls": "absent"},
        "absent_only_nulls": {"jsonl_nulls": "absent"},
        "crossed": {"variables": crossed},
        **{f"texts_{name}": note for name, note in _ENCODINGS.items()},
        **{
            f"spelled_{kind.lower()}": {"variables": {"value": {"type": kind, "stored": "string"}}}
            for kind in _SPELLINGS
        },
    }
