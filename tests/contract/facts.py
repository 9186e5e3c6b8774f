"""What is asked of a Redivis: one check for each reading, which says which value it sees; never what the data are."""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from redivis_emulator import readings
from tests.contract.service import Answer, Json, NotSeen
from tests.contract.table import Table, batches_of

_SOME_ROWS = 10
_TWO_STREAMS = 2000
_EPOCH = 10**9


@dataclass(frozen=True)
class Fact:
    """One fact.

    Attributes:
        question: Its number in docs/api.md.
        name: The reading of the emulator that it is about.
        words: What it is about.
        see: Finds out which value the service has; a `NotSeen` says why that cannot be known.
    """

    question: int
    name: str
    words: str
    see: Callable[[Table], str]

    @property
    def values(self) -> list[str]:
        """The values that the emulator can be set to, the likely one first."""
        return [str(value) for value in readings.values()[self.name]]


FACTS: list[Fact] = []


def _fact(question: int, name: str, words: str) -> Callable[[Callable[[Table], str]], Callable[[Table], str]]:
    def note(see: Callable[[Table], str]) -> Callable[[Table], str]:
        FACTS.append(Fact(question, name, words, see))
        return see

    return note


def _either(condition: object, yes: str, no: str) -> str:
    return yes if condition else no


def _objects(table: Table) -> list[Json]:
    try:
        return [json.loads(line) for line in table.jsonl.splitlines() if line.strip()]
    except ValueError:
        raise NotSeen("the rows are no JSON Lines") from None


# --- read sessions and their formats ---------------------------------------------------------------------------------


@_fact(29, "text_formats", "JSON Lines from read sessions")
def _text_formats(table: Table) -> str:
    session = table.text_session
    if not session.is_good:
        table.session.needed()
        return "refused"
    return _either(table.stream(session.json, offset=0).body.startswith(b"\xff\xff\xff\xff"), "ignored", "served")


@_fact(9, "session_status", "status of a new read session")
def _session_status(table: Table) -> str:
    table.session.needed()
    return str(table.session.status)


@_fact(9, "session_answer", "keys of a new read session")
def _session_answer(table: Table) -> str:
    answer = table.session.needed()
    return _either(set(answer) <= {"id", "numRows", "streams"}, "least", "full")


@_fact(8, "sentinel", "the sentinel of Arrow")
def _sentinel(table: Table) -> str:
    def ends(answer: Answer) -> bool:
        batches = list(batches_of(answer))
        return bool(batches) and batches[-1].num_rows == 0

    if not ends(table.arrow):
        return "never"
    return _either(ends(table.stream(table.session.json, offset=0)), "always", "asked")


@_fact(8, "text_sentinel", "eosSentinel for JSON Lines")
def _text_sentinel(table: Table) -> str:
    assert table.jsonl is not None
    answer = table.stream(table.text_session.json, offset=0, eosSentinel="true")
    return _either(answer.is_good, "ignored", "refused")


@_fact(2, "gone_status", "status of an unknown read stream")
def _gone_status(table: Table) -> str:
    return str(table.service.get(f"/readStreams/{secrets.token_hex(16)}.0", {"offset": 0}).status)


@_fact(3, "offset_status", "status of an offset beyond what was read")
def _offset_status(table: Table) -> str:
    return str(table.stream(table.opened(format="arrow").needed(), offset=1).status)


@_fact(10, "most_streams", "nine read streams")
def _most_streams(table: Table) -> str:
    table.session.needed()
    session = table.opened(format="arrow", requestedStreamCount=9)
    if not session.is_good:
        return "eight"
    if len(session.json["streams"]) > 1:
        return "any"
    if len(table.rows) < _TWO_STREAMS:
        raise NotSeen("the table is too small")
    return "one"


@_fact(11, "max_results", "one row was asked for")
def _max_results(table: Table) -> str:
    session = table.opened(format="arrow", maxResults=1).needed()
    rows = sum(batch.num_rows for batch in batches_of(table.stream(session, offset=0)))
    return _either(rows == 1, "exact", "more")


@_fact(11, "max_results_type", "maxResults as a text")
def _max_results_type(table: Table) -> str:
    table.session.needed()
    return _either(table.opened(format="arrow", maxResults="1").is_good, "any", "number")


@_fact(13, "row_order", "order of rows")
def _row_order(table: Table) -> str:
    first = list(map(str, table.rows))
    if len(set(first)) < _SOME_ROWS:
        raise NotSeen("the table has too few rows")

    def again(session: Json) -> list[str]:
        return [str(row) for batch in batches_of(table.stream(session, offset=0)) for row in batch.to_pylist()]

    if again(table.session.json) != first:
        return "request"
    return _either(again(table.opened(format="arrow").needed()) == first, "table", "session")


@_fact(41, "session_rows", "numRows of a read session")
def _session_rows(table: Table) -> str:
    return _count(table.session.needed().get("numRows"), len(table.rows))


@_fact(41, "table_rows", "numRows of a table")
def _table_rows(table: Table) -> str:
    return _count(table.info.get("numRows"), len(table.rows))


def _count(value: Any, rows: int) -> str:
    if value is None:
        return "absent"
    number = int(value)
    return "exact" if number == rows else _either(number < rows, "low", "high")


@_fact(25, "quota", "the quota of exports")
def _quota(table: Table) -> str:
    if "annot export more than" in table.session.words:
        return _either(table.session.status == 400, "used_up", "forbidden")
    table.session.needed()
    return "free"


# --- how rows are written --------------------------------------------------------------------------------------------


@_fact(40, "last_line_end", "the last line end of JSON Lines")
def _last_line_end(table: Table) -> str:
    return _either(table.jsonl.endswith(b"\n"), "written", "absent")


@_fact(6, "jsonl_nulls", "nulls in JSON Lines")
def _jsonl_nulls(table: Table) -> str:
    rows = _objects(table)
    if any(len(row) < len(table.variables) for row in rows):
        return "absent"
    if not any(value is None for row in rows for value in row.values()):
        raise NotSeen("no null came")
    return "explicit"


def _kind_of_numbers(table: Table, kind: str) -> str:
    names = set(table.named(kind))
    values = [value for row in _objects(table) for name, value in row.items() if name in names and value is not None]
    finite = [
        value for value in values if value not in _NOT_FINITE and not (isinstance(value, float) and math.isnan(value))
    ]
    if not finite:
        raise NotSeen(f"no {kind} came")
    return _either(isinstance(finite[0], str), "string", "number")


_NOT_FINITE = ("NaN", "Infinity", "-Infinity", math.inf, -math.inf)


@_fact(7, "jsonl_integers", "integers in JSON Lines")
def _jsonl_integers(table: Table) -> str:
    return _kind_of_numbers(table, "integer")


@_fact(7, "jsonl_floats", "floats in JSON Lines")
def _jsonl_floats(table: Table) -> str:
    return _kind_of_numbers(table, "float")


@_fact(7, "jsonl_non_finite", "NaN and infinities in JSON Lines")
def _jsonl_non_finite(table: Table) -> str:
    names = table.named("float")
    if _kind_of_numbers(table, "float") == "string":
        raise NotSeen("all floats are texts")
    if not any(isinstance(row[name], float) and not math.isfinite(row[name]) for row in table.rows for name in names):
        raise NotSeen("no such value came")
    text = table.jsonl.decode("utf-8", "replace")
    word = re.search(r':("?)(?:NaN|-?Infinity)\b', text)
    return "null" if word is None else _either(word[1], "string", "literal")


def _csv_lines(table: Table) -> list[bytes]:
    return table.csv.split(b"\n")


def _is_header(table: Table, line: bytes) -> bool:
    names = {each["name"].lower() for each in table.variables}
    cells = [cell.strip('"').lower() for cell in line.decode("utf-8", "replace").strip().split(",")]
    return 2 * sum(cell in names for cell in cells) > len(cells)


@_fact(4, "csv_header", "the header of CSV, also after a resume")
def _csv_header(table: Table) -> str:
    if not _is_header(table, _csv_lines(table)[0]):
        return "none"
    later = table.stream(table.csv_session.json, offset=1)
    if not later.is_good:
        raise NotSeen("it cannot be resumed")
    return _either(_is_header(table, later.body.split(b"\n")[0]), "each", "first")


@_fact(5, "csv_quotes", "quotes in CSV")
def _csv_quotes(table: Table) -> str:
    lines = [line for line in _csv_lines(table) if not _is_header(table, line)]
    if any(re.search(rb'(^|,)"-?\d+(\.\d+)?"(,|\r|$)', line) for line in lines) and table.named("integer"):
        return "all"
    texts = [row[name] for row in table.rows for name in table.named("string")]
    plain = next((text for text in texts if text and re.fullmatch(r"[A-Za-z][A-Za-z0-9 ]*", text)), None)
    if plain is None:
        raise NotSeen("no plain text came")
    return _either(b'"' + plain.encode() + b'"' in table.csv, "strings", "needed")


@_fact(5, "csv_line_ends", "line ends of CSV")
def _csv_line_ends(table: Table) -> str:
    return _either(b"\r\n" in table.csv, "crlf", "lf")


@_fact(5, "csv_empty", "the empty string in CSV")
def _csv_empty(table: Table) -> str:
    if not any(row[name] == "" for row in table.rows for name in table.named("string")):
        raise NotSeen("no empty string came")
    return _either(re.search(rb'(^|,|\n)""(,|\r|\n|$)', table.csv), "quoted", "bare")


@_fact(12, "arrow_strings", "text in Arrow")
def _arrow_strings(table: Table) -> str:
    schema, names = table.batches[0].schema, table.named("string")
    kinds = [schema.field(name).type for name in names if name in schema.names]
    if not kinds:
        raise NotSeen("there is no text")
    if pa.types.is_dictionary(kinds[0]):
        return "dictionary"
    return {pa.string(): "utf8", pa.large_string(): "large_utf8", pa.string_view(): "utf8_view"}.get(kinds[0], "other")


@_fact(12, "arrow_compression", "compression in Arrow")
def _arrow_compression(table: Table) -> str:
    body = table.arrow.body
    assert table.batches is not None
    if b"\x28\xb5\x2f\xfd" in body:
        return "zstd"
    return _either(b"\x04\x22\x4d\x18" in body, "lz4", "none")


@_fact(28, "geography", "geographies")
def _geography(table: Table) -> str:
    values = [str(row[name]) for row in table.rows for name in table.named("geography") if row[name] is not None]
    if not values:
        raise NotSeen("no geography came")
    if values[0].startswith("{"):
        return "geojson"
    return _either(re.match(r"[A-Z]+ ?(\(|EMPTY)", values[0]), "wkt", "other")


# --- /rows -----------------------------------------------------------------------------------------------------------


def _rows_of(table: Table, **params: Any) -> Answer:
    return table.service.get(f"{table.path}/rows", {"format": "arrow", **params})


@_fact(32, "name_lists", "a list of names in an address")
def _name_lists(table: Table) -> str:
    names = [each["name"] for each in table.variables if "," not in each["name"]][:2]
    if len(names) < 2:
        raise NotSeen("there are too few variables")

    def takes(value: Any) -> bool:
        answer = _rows_of(table, selectedVariables=value, maxResults=1)
        return answer.is_good and len(next(batches_of(answer)).schema) == len(names)

    with_commas, with_keys = takes(",".join(names)), takes(names)
    if not (with_commas or with_keys):
        raise NotSeen("neither is understood")
    return "both" if with_commas and with_keys else _either(with_commas, "commas", "repeated")


@_fact(23, "rows_offset", "offset of /rows")
def _rows_offset(table: Table) -> str:
    table.session.needed()
    answer = _rows_of(table, offset=1)
    if not answer.is_good:
        return "refused"
    rows = sum(batch.num_rows for batch in batches_of(answer))
    return _either(rows == len(table.rows), "ignored", "taken")


@_fact(22, "rows_size", "/rows of a table of 100 MB or more")
def _rows_size(table: Table) -> str:
    if table.large is None:
        raise NotSeen("no large table was seen")
    table.session.needed()
    path = f"/tables/{quote(table.large, safe='')}/rows"
    return _either(table.service.get(path, {"format": "arrow", "maxResults": 1}).is_good, "any", "small")


# --- references, versions, access ------------------------------------------------------------------------------------


@_fact(17, "sample", "where :sample is understood")
def _sample(table: Table) -> str:
    if not table.dataset.get("sampleConfiguration"):
        raise NotSeen("the dataset has no sample")
    owner, dataset, name = re.fullmatch(r"([^.]+)\.(.*)\.([^.]+)", table.reference).groups()  # type: ignore[union-attr]
    name_first, *suffixes = dataset.split(":")
    on_dataset = f"{owner}.{':'.join([name_first, *suffixes[:1], 'sample', *suffixes[1:]])}.{name}"
    found = [
        table.service.get(f"/tables/{quote(each, safe='')}").json.get("isSample") is True
        for each in (on_dataset, f"{table.reference}:sample")
    ]
    if not any(found):
        raise NotSeen("neither is understood")
    return "both" if all(found) else _either(found[0], "dataset", "table")


@_fact(35, "empty_names", "references by ids alone")
def _empty_names(table: Table) -> str:
    owner = table.reference.partition(".")[0]
    dataset_id, table_id = table.dataset["referenceId"], table.info["referenceId"]
    answer = table.service.get(f"/tables/{quote(f'{owner}.:{dataset_id}.:{table_id}', safe='')}")
    return _either(answer.is_good, "accepted", "refused")


@_fact(27, "deleted_versions", "a deleted version")
def _deleted_versions(table: Table) -> str:
    tags = [each["tag"] for each in table.versions if each.get("isDeleted")]
    if not tags:
        raise NotSeen("no version is deleted")
    answer = table.service.get(f"/datasets/{quote(f'{table.unpinned}:' + tags[0].replace('.', '_'), safe='')}")
    if not answer.is_good:
        return "gone"
    return _either(answer.json["version"]["tag"] == tags[0], "readable", "current")


@_fact(15, "draft_counts", "counts of a draft")
def _draft_counts(table: Table) -> str:
    answer = table.service.get(f"/datasets/{quote(f'{table.unpinned}:next', safe='')}/tables")
    items = answer.json.get("results") or []
    if not items:
        raise NotSeen("there is no draft")
    if items[0].get("numRows") is None:
        return "absent"
    path = f"/tables/{quote(items[0]['qualifiedReference'], safe='')}/readSessions"
    session = table.service.begin(path, {"format": "arrow", "requestedStreamCount": 1}).needed()
    streams = [table.stream({"streams": [each]}, offset=0) for each in session["streams"][:4]]
    rows = sum(batch.num_rows for stream in streams for batch in batches_of(stream))
    return _either(items[0]["numRows"] == rows, "counted", "stale")


@_fact(14, "table_hash", "the hash of equal tables in two versions")
def _table_hash(table: Table) -> str:
    if table.info.get("hash") is None:
        return "absent"
    now = table.dataset["version"]["tag"]
    others = [each["tag"] for each in table.versions if each["tag"] not in {now, "next"} and not each.get("isDeleted")]
    if not others:
        raise NotSeen("there is one version only")
    name = table.reference.rpartition(".")[2]
    path = f"/tables/{quote(f'{table.unpinned}:' + others[0].replace('.', '_') + f'.{name}', safe='')}"
    other = table.service.get(path).needed()
    session = table.service.begin(f"{path}/readSessions", {"format": "arrow", "requestedStreamCount": 1}).needed()
    rows = [row for batch in batches_of(table.stream(session, offset=0)) for row in batch.to_pylist()]
    if sorted(map(str, rows)) != sorted(map(str, table.rows)):
        raise NotSeen("the table differs between the versions")
    return _either(other.get("hash") == table.info["hash"], "content", "version")


@_fact(16, "no_access", "status where the rows may not be read")
def _no_access(table: Table) -> str:
    if table.closed is None:
        raise NotSeen("no such dataset was seen")
    listed = table.service.get(f"/datasets/{quote(table.closed, safe='')}/tables").json.get("results") or []
    if not listed:
        raise NotSeen("its tables are not shown")
    path = f"/tables/{quote(listed[0]['qualifiedReference'], safe='')}/readSessions"
    answer = table.service.begin(path, {"format": "arrow"})
    if answer.is_good:
        raise NotSeen("they can be read")
    return str(answer.status)


@_fact(42, "anonymous", "public data without a token")
def _anonymous(table: Table) -> str:
    if table.info.get("publicAccessLevel") not in {"data", "edit"}:
        raise NotSeen("the table is not public")
    if not table.service.get(table.path, anonymous=True).is_good:
        return "none"
    return _either(table.service.get(table.dataset_path, anonymous=True).is_good, "datasets", "tables")


# --- lists, errors, headers ------------------------------------------------------------------------------------------


@_fact(44, "list_items", "items of a list of datasets")
def _list_items(table: Table) -> str:
    if not table.listed:
        raise NotSeen("no list was asked for")
    return _either("qualifiedReference" in table.listed[0], "full", "short")


@_fact(19, "list_order", "order of lists")
def _list_order(table: Table) -> str:
    listed = table.service.get(f"{table.dataset_path}/tables", {"maxResults": 100}).needed()["results"]
    ids = [each["id"] for each in listed]
    if len(ids) < 2:
        raise NotSeen("the dataset has one table")
    if ids == sorted(ids):
        return "id"
    return _either(ids == sorted(ids, reverse=True), "reversed", "other")


@_fact(19, "large_pages", "maxResults of 1000")
def _large_pages(table: Table) -> str:
    path = f"/datasets/{quote(table.unpinned, safe='')}/versions"
    return _either(table.service.get(path, {"maxResults": 1000}).is_good, "cut", "refused")


@_fact(18, "errors", "bodies of errors")
def _errors(table: Table) -> str:
    body = table.service.get(f"{table.path}/variables/{secrets.token_hex(8)}").json
    if isinstance(body.get("error"), dict):
        return "nested"
    if "error_description" not in body:
        return "other"
    return _either("traceId" in body, "traced", "flat")


@_fact(26, "etags", "Etag of metadata")
def _etags(table: Table) -> str:
    answer = table.service.get(table.path)
    tag = answer.headers.get("Etag")
    if not tag:
        return "absent"
    again = table.service.get(table.path, headers={"If-None-Match": tag})
    return _either(again.status == 304, "conditional", "weak")


@_fact(36, "limit_headers", "X-Ratelimit-Reset")
def _limit_headers(table: Table) -> str:
    value = table.service.get(table.path).headers.get("X-Ratelimit-Reset")
    if value is None:
        return "absent"
    return _either(float(value) > _EPOCH, "epoch", "delta")


@_fact(1, "retry_after", "Retry-After after a 429")
def _retry_after(table: Table) -> str:
    if not table.service.limited:
        raise NotSeen("no 429 came")
    value = table.service.limited[0].headers.get("Retry-After")
    if value is None:
        return "absent"
    if not re.fullmatch(r"[\d.]+", value):
        return "http_date"
    return "seconds" if float(value) < 10**6 else _either(float(value) < 10**12, "epoch", "epoch_ms")


@_fact(20, "limit_answer", "the body of a 429")
def _limit_answer(table: Table) -> str:
    if not table.service.limited:
        raise NotSeen("no 429 came")
    answer = table.service.limited[0]
    if not answer.body:
        return "empty"
    if not answer.json:
        return "html"
    return _either(isinstance(answer.json.get("error"), dict), "nested", "flat")


@_fact(43, "openapi", "/openapi.json")
def _openapi(table: Table) -> str:
    return _either("openapi" in table.service.get("/openapi.json", anonymous=True).json, "served", "absent")


# --- queries ---------------------------------------------------------------------------------------------------------


def _query(table: Table, sql: str) -> Json:
    return table.service.begin("/queries", {"query": sql, "timeoutMs": 15_000}).needed()


def _result(table: Table, sql: str) -> pa.DataType | None:
    """Run a query of one value, and return its type in Arrow; None if it fails."""
    table.session.needed()
    query = _query(table, sql)
    if query.get("status") == "failed":
        return None
    if query.get("status") != "completed":
        raise NotSeen(f"the query is {query.get('status')}")
    path = f"/queries/{quote(str(query['id']), safe='')}"
    session = table.service.begin(f"{path}/readSessions", {"format": "arrow", "requestedStreamCount": 1})
    if not session.is_good:
        return None
    if table.query_rows is None:
        table.query_rows = table.service.get(f"{path}/rows", {"format": "arrow"})
    return next(batches_of(table.stream(session.json, offset=0))).schema.field(0).type


@_fact(21, "sql_decimals", "decimals in the result of a query")
def _sql_decimals(table: Table) -> str:
    kind = _result(table, "SELECT CAST('0.25' AS NUMERIC) AS quarter")
    if kind is None:
        raise NotSeen("the query failed")
    if pa.types.is_decimal(kind):
        return "decimal"
    return _either(pa.types.is_floating(kind), "float", "string")


@_fact(21, "sql_nested", "lists in the result of a query")
def _sql_nested(table: Table) -> str:
    kind = _result(table, "SELECT [1, 2] AS pair")
    if kind is None:
        return "refused"
    return _either(pa.types.is_nested(kind), "native", "string")


@_fact(31, "query_rows", "/rows of a query")
def _query_rows(table: Table) -> str:
    if table.query_rows is None:
        raise NotSeen("no query was run")
    return _either(table.query_rows.is_good, "served", "absent")
