"""Run SQL on the server: a query → its finished job, whose rows are read like a table's (redivis-api §4.9)."""

import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from tap_redivis.client.answers import count_of, has_name, id_of, misfit_of, variable_of
from tap_redivis.client.http import Api
from tap_redivis.client.metadata import MetadataClient
from tap_redivis.errors import ConfigError, DataError, Forbidden, NotFound, QueryFailed, Refused, one_line
from tap_redivis.model.references import parse_container, parse_table
from tap_redivis.model.tables import Json, Variable
from tap_redivis.runtime.logs import logger

# Names that dots join, each part bare or quoted; texts and comments are passed over.
_PART = r"(?:`[^`]*`|\w+)"
_NAMES = re.compile(
    rf"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|(?:--|\#)[^\n]*|/\*.*?\*/|({_PART}(?:\s*\.\s*{_PART})*)", re.DOTALL
)
_LONGEST_HOLD_SECONDS = 60.0  # redivis-api §4.9: timeoutMs is at most 60,000
_FIRST_POLL_SECONDS = 1.0
_MOST_SECONDS_BETWEEN_POLLS = 10.0
_SECONDS_BETWEEN_WORDS = 300.0
_LONGEST_QUERY_SECONDS = 6 * 3600.0  # BigQuery, which runs them, ends a query after six hours


@dataclass(frozen=True)
class Query:
    """SQL to run; unqualified table names are of the default dataset or workflow."""

    name: str  # for messages
    sql: str  # one SELECT in GoogleSQL
    default_dataset: str | None = None
    default_workflow: str | None = None


@dataclass(frozen=True)
class QueryResult:
    """The result of a completed query, which never changes (redivis-api §4.9)."""

    id: str
    uri: str  # path below the endpoint, read like a table's
    rows: int | None
    bytes: int | None
    columns: tuple[Variable, ...]  # as the query's own answer lists them


def run_query(api: Api, query: Query, *, timeout: float) -> QueryResult:
    """Run a query and wait until it is completed; a request counts as broken after ``timeout`` seconds of silence."""
    held = min(_LONGEST_HOLD_SECONDS, timeout / 2)  # the server is silent so long before it answers
    body: Json = {"query": query.sql, "timeoutMs": int(held * 1000)}
    defaults = {"defaultDataset": query.default_dataset, "defaultWorkflow": query.default_workflow}
    body |= {key: reference for key, reference in defaults.items() if reference}
    return _completed(api, query, api.post("/queries", body))


def completed_query(api: Api, query: Query, query_id: str) -> QueryResult | None:
    """Find the result of an earlier query; None if the server no longer has it."""
    try:
        answer = api.get(f"/queries/{quote(query_id, safe='')}")
    except (NotFound, Forbidden, Refused):
        return None
    return _result(query, answer) if answer.get("status") == "completed" else None


def query_columns(api: Api, query: Query, *, timeout: float) -> list[Variable]:
    """Find the columns of a query by running it without its rows (see ``run_query``)."""
    empty = replace(query, sql=selection_from(query.sql, "FALSE"))
    return result_columns(api, run_query(api, empty, timeout=timeout))


def check_versions(catalogue: MetadataClient, query: Query) -> None:
    """Raise a ``NotFound`` if there is no version that a query names, in its defaults or between backticks."""
    # The server would silently read the current version instead (redivis-api §3.1).
    containers = [parse_container(query.default_dataset, query.name)] if query.default_dataset else []
    for names in _NAMES.findall(query.sql):
        with suppress(ConfigError):  # what is no reference: a column, or what the server has to judge
            if ":" in names:
                reference = re.sub(r"`?\s*\.\s*`?", ".", names).strip("`")
                containers.append(parse_table(reference, query.name).container)
    for container in dict.fromkeys(containers):
        try:
            catalogue.check_version(container)
        except NotFound as error:
            raise NotFound(f"{error.where}: {error.what}", where=query.name, hint=error.hint) from None


def selection_from(sql: str, condition: str) -> str:
    """Make the query for some rows of another query's result."""
    # The line breaks matter: the last line of the inner query may be a comment.
    return f"SELECT * FROM (\n{sql.strip().removesuffix(';')}\n) WHERE {condition}"  # noqa: S608 - it is the user's SQL


def result_columns(api: Api, result: QueryResult) -> list[Variable]:
    """List a result's variables; where the server has no such list, those of the query's own answer."""
    try:
        return [variable_of(item) for item in api.pages(f"{result.uri}/variables")]
    except (NotFound, Refused):
        if not result.columns:
            raise
        return list(result.columns)


def _completed(api: Api, query: Query, answer: Json) -> QueryResult:
    started, delay, logged, until = time.monotonic(), _FIRST_POLL_SECONDS, "", _SECONDS_BETWEEN_WORDS
    while True:
        status = str(answer.get("status"))
        if status == "completed":
            return _result(query, answer)
        if status not in {"queued", "running"}:
            raise _failure(query, status, answer)
        seconds = time.monotonic() - started
        if seconds > _LONGEST_QUERY_SECONDS:
            raise QueryFailed(
                f"the query was still {status} after {_LONGEST_QUERY_SECONDS / 3600:.0f} hours",
                where=query.name,
                hint="Make it smaller, or run again later",
            )
        if status != logged:
            logger.info("%s: the query is %s", query.name, status)
            logged = status
        elif seconds > until:
            logger.info("%s: the query is still %s, after %.0f minutes", query.name, status, seconds / 60)
            until = seconds + _SECONDS_BETWEEN_WORDS
        time.sleep(delay)
        delay = min(delay * 1.5, _MOST_SECONDS_BETWEEN_POLLS)
        answer = api.get(f"/queries/{_id(query, answer)}")


def _result(query: Query, answer: Json) -> QueryResult:
    query_id = _id(query, answer)
    if misfit := misfit_of(answer, "outputNumRows", "outputNumBytes"):
        raise DataError(misfit, where=query.name, hint="Try again later; if it stays, tell Redivis")
    listed: Any = answer.get("outputSchema")
    columns = tuple(map(variable_of, listed)) if isinstance(listed, list) and all(map(has_name, listed)) else ()
    rows, size = count_of(answer.get("outputNumRows")), count_of(answer.get("outputNumBytes"))
    return QueryResult(query_id, f"/queries/{query_id}", rows, size, columns)


def _failure(query: Query, status: str, answer: Json) -> QueryFailed:
    words = one_line(str(answer.get("errorMessage") or "no reason given"), 500).rstrip(".")
    if status == "failed":
        return QueryFailed(
            f"the query failed: {words}", where=query.name, hint="Correct the SQL, or ask for what `make live` shows"
        )
    if status == "cancelled":
        return QueryFailed("the query was cancelled", where=query.name, hint="Run again")
    return QueryFailed(f"the query is {status!r}, which is no known status", where=query.name, hint="Run again")


def _id(query: Query, answer: Json) -> str:
    query_id = quote(id_of(answer), safe="")
    if not query_id:
        raise DataError("the server began a query without an id", where=query.name, hint="Try again later")
    return query_id
