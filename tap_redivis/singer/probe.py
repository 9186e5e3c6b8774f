"""``--test``: check token, scope and access of one stream by reading one row at most."""

from __future__ import annotations

import logging
from dataclasses import replace

from tap_redivis.client.read_sessions import open_session
from tap_redivis.errors import Unavailable
from tap_redivis.model.reads import StreamPosition
from tap_redivis.planning.table_plan import TablePlan, require_access
from tap_redivis.reading.counting import ReadProgress, RowBudget
from tap_redivis.reading.jobs import JobSpec, LocalWorker
from tap_redivis.reading.read_session import SessionReader
from tap_redivis.reading.read_stream import SessionGone
from tap_redivis.singer.outputs import server_of
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sources import Source
from tap_redivis.wire.codec import RowCodec
from tap_redivis.wire.rows import ValueIssues

logger = logging.getLogger("tap-redivis")


def probe_table(run: RunContext, source: Source, plan: TablePlan) -> None:
    """Check that the rows of a stream can be read.

    Raises:
        RedivisError: They cannot.
    """
    require_access(plan.table, run.settings)
    if not source.probe(plan):
        return
    request = replace(plan.request, max_rows=1, max_streams=1)
    session = open_session(run.api, request)
    progress = ReadProgress()
    codec = RowCodec(request.table, plan.columns, plan.rules, ValueIssues())
    worker = LocalWorker(run.api, codec, RowBudget(1), progress)
    spec = JobSpec(server_of(run.settings), request, plan.columns, plan.rules)
    reader = SessionReader(worker, spec, {stream: StreamPosition() for stream in session.streams}, None)
    try:
        for _ in reader.read():
            pass
    except SessionGone as gone:
        raise Unavailable(str(gone), where=request.table, hint="Try again later") from gone
    logger.info("%s: readable (%d row read for the test)", request.table, progress.received)
