"""Queries: POST /queries, and GET of a query (redivis-api §4.9)."""

from __future__ import annotations

import asyncio
import concurrent.futures
from pathlib import Path
from typing import TYPE_CHECKING

from redivis_emulator.call import Call, whole_number
from redivis_emulator.errors import ApiError, SqlError, invalid
from redivis_emulator.library import Part, Variable
from redivis_emulator.lookups import Finder, Readable, readable_table
from redivis_emulator.variable_types import variable_type

if TYPE_CHECKING:
    import pyarrow as pa

    from redivis_emulator.jobs import Job
    from redivis_emulator.resources import Json
    from redivis_emulator.service import Service
    from redivis_emulator.sql import QueryResult, Statement

_MAX_WAIT_MS = 60_000
_DEFAULT_WAIT_MS = 30_000


async def begin(service: Service, finder: Finder, call: Call) -> Json:
    """Start a query; answer when it is done, or after `timeoutMs`."""
    if call.caller is None:
        raise ApiError(401, "invalid_token", "A query needs a valid access token.")
    body = call.json()
    text = body.get("query")
    if not isinstance(text, str) or not text.strip():
        raise invalid("query must be a SQL statement.")
    wait = whole_number("timeoutMs", body.get("timeoutMs"))
    if wait is not None and wait > _MAX_WAIT_MS:
        raise invalid("timeoutMs must be at most 60000.")
    dataset, workflow = body.get("defaultDataset"), body.get("defaultWorkflow")

    def work() -> QueryResult:
        from redivis_emulator import sql  # noqa: PLC0415 - takes half of the start of a program that asks no query

        statement = sql.translate(text, lambda reference: _table(finder, reference, dataset, workflow))
        source = service.shelf.keep(sql.run(statement, call.readings))
        return sql.QueryResult(source, _variables(source.schema, statement))

    job = service.queries.begin(call.caller.user, service.clock.now(), (), work)
    seconds = (_DEFAULT_WAIT_MS if wait is None else wait) / 1000
    await asyncio.to_thread(concurrent.futures.wait, [job.future], seconds)
    return resource(job)


def resource(job: Job[QueryResult]) -> Json:
    """Return a query as JSON (redivis-api §5)."""
    done = job.future.result() if job.status == "completed" else None
    return {
        "kind": "query",
        "id": job.id,
        "uri": f"/queries/{job.id}",
        "status": job.status,
        "errorMessage": job.error,
        "createdAt": int(job.created_at * 1000),
        "finishedAt": int(job.created_at * 1000) if job.future.done() else None,
        # The official client needs a number here (redivis-api §10).
        "outputNumRows": done.source.num_rows if done else 0,
        "outputNumBytes": done.source.num_bytes if done else 0,
        "outputSchema": [{"name": v.name, "type": v.type} for v in done.variables] if done else None,
    }


def readable(job: Job[QueryResult]) -> Readable:
    """Return the result of a query as a resource with rows.

    Raises:
        ApiError: The query is not completed.
    """
    result = job.result()
    parts = (Part(Path("result"), result.source, result.source.num_rows),)
    return Readable(f"/queries/{job.id}", result.variables, parts, result.source.num_bytes)


def _variables(schema: pa.Schema, statement: Statement) -> tuple[Variable, ...]:
    """Return the columns of a result.

    SQL has no geographies and no file ids: a result column gets these from the column of the same name in a source.
    """
    sources = [variable for table in statement.tables.values() for variable in table.variables]
    geographies = {variable.name for variable in sources if variable.type == "geography"}
    file_ids = {variable.name for variable in sources if variable.is_file_id}
    variables = []
    for field in schema:
        kind = stored = variable_type(field.type) or "string"
        if stored == "string" and field.name in geographies:
            kind = "geography"
        variables.append(Variable(field.name, kind, stored, is_file_id=field.name in file_ids))
    return tuple(variables)


def _table(finder: Finder, reference: str, dataset: str | None, workflow: str | None) -> Readable:
    """Return a table of a query: by a complete reference, or by its name in the default dataset or workflow."""
    try:
        if "." in reference:
            found = finder.table(reference)
        elif workflow and not dataset:
            found = finder.workflow_table(workflow, reference)
        else:
            found = finder.table(f"{dataset}.{reference}" if dataset else reference)
        finder.check_readable(found)
    except ApiError as error:
        raise SqlError(str(error)) from error
    return readable_table(found)
