"""Where the rows of a stream come from: a table, an upload, or a query; what it is now, and where its rows are read."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from tap_redivis.client import queries
from tap_redivis.client.uploads import find_uploads
from tap_redivis.errors import Forbidden, NotFound, QueryFailed, RedivisError, Refused, Unauthorized
from tap_redivis.model.json_schema import UPLOAD
from tap_redivis.model.references import ContainerRef, TableRef, UploadRef
from tap_redivis.model.settings import QueryOptions
from tap_redivis.model.tables import TableInfo, Variable
from tap_redivis.planning.decision import can_have_vanished
from tap_redivis.planning.drift import Drift
from tap_redivis.planning.sql import AMBIGUOUS, rows_since
from tap_redivis.planning.table_plan import TablePlan, apply_drift, plan_drift
from tap_redivis.runtime.logs import logger
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.version_changes import NotComparable, compare, vanished_keys


class TableSource:
    """A table that follows the current version where it is not pinned; or an upload of a draft's table.

    Attributes:
        name: What the catalog calls it.
        can_prefetch: Whether it is known without a request what would have to be asked for.
        containers: The datasets and workflows that must be known to find it.
        table: None until it has been asked for; so are the variables.
    """

    def __init__(
        self,
        run: RunContext,
        reference: TableRef,
        upload: str | None = None,
        *,
        table: TableInfo | None = None,
        variables: Sequence[Variable] | None = None,
    ) -> None:
        self._run = run
        self.reference = reference
        self.upload = UploadRef(reference, upload) if upload is not None else None
        self.name = str(reference) if self.upload is None else f"{UPLOAD}{self.upload}"
        # An upload belongs to a draft: it has no versions that could be compared.
        methods = ("FULL_TABLE", "INCREMENTAL", "LOG_BASED")
        self.replication_methods: Sequence[str] = methods if upload is None else methods[:1]
        self.can_prefetch = upload is None
        self.containers: Sequence[ContainerRef] = (reference.container,)
        self.table = table
        self.variables = variables

    def describe(self) -> TableInfo:
        """Find out what the table is now; costs nothing if its dataset was asked for already."""
        if self.table is None:
            self._run.ask_for_all()
            if self.upload is not None:
                [self.table] = find_uploads(self._run.api, self._run.metadata, self.upload)
            else:
                self.table = self._run.metadata.find(self.reference)[0]
        return self.table

    def locate(self, plan: TablePlan) -> TablePlan:
        """Find where the rows are read and which variables to transfer; an incremental load reads a query's result.

        Raises:
            SchemaChanged: The catalog does not fit, and ``on_schema_change`` is ``fail``.
        """
        variables = self._listed(plan)
        plan = _fit(plan, variables, self._run)
        if plan.selection.replication_method == "LOG_BASED":
            plan, sql = compare(plan, variables, self._run.metadata)
        elif plan.since is not None:
            names = plan.request.variables or [variable.name for variable in variables]
            sql = rows_since(plan.table.pinned, names, plan.since)
        if plan.is_whole:
            return plan
        try:
            return _through_query(plan, queries.Query(plan.table.pinned, sql), self._run)[0]
        except (Unauthorized, Forbidden, Refused, QueryFailed) as error:
            hint = "Use replication method FULL_TABLE for it, which needs no query, or try again later"
            if AMBIGUOUS in error.what:
                hint = "Name other key properties, or use replication method FULL_TABLE"
            raise type(error)(error.what, where=plan.table.pinned, hint=hint) from error

    def relocate(self, plan: TablePlan) -> TablePlan:
        """Find out for an interrupted load which values arrive in another type than the catalog says."""
        return _fit(plan, self._listed(plan), self._run)

    def locate_vanished(self, plan: TablePlan) -> TablePlan | None:
        """Find after a load of all rows where the keys are read that vanished since the last one (LOG_BASED).

        A warning says why they cannot be found.
        """
        if not plan.is_whole or not can_have_vanished(plan.bookmark, plan.snapshot):
            return None
        try:
            plan, sql = vanished_keys(plan, self._listed(plan), self._run.metadata)
            return _through_query(plan, queries.Query(plan.table.pinned, sql), self._run)[0]
        except (NotComparable, Unauthorized, Forbidden, NotFound, Refused, QueryFailed) as error:
            logger.warning(
                "%s: which rows were deleted since %s is not known (%s); if the target ignores ACTIVATE_VERSION, empty "
                "its table and load without this bookmark",
                plan.table.pinned,
                plan.bookmark.version_tag,
                error.what if isinstance(error, RedivisError) else error,
            )
            return None

    def drift(self, plan: TablePlan) -> Drift:
        """Compare the catalog with the variables that the server has now, as far as it tells them without a query."""
        return plan_drift(plan, self._listed(plan))

    def preview(self, plan: TablePlan) -> TablePlan:
        """Find out for ``--plan`` what shows only when a load begins: whether versions can be compared."""
        if plan.decision.action != "start" or plan.selection.replication_method != "LOG_BASED" or plan.base is None:
            return plan
        compared, reason = compare(plan, self._listed(plan), self._run.metadata)
        if compared.base is not None:
            return plan
        change = plan.decision.reason.partition(";")[0]
        return replace(compared, decision=replace(plan.decision, reason=f"{change}; all rows are read, since {reason}"))

    def probe(self, plan: TablePlan) -> bool:  # noqa: ARG002 - a query needs it
        """Check what can be checked without reading a row; say whether a row is to be read too."""
        return True

    def _listed(self, plan: TablePlan) -> Sequence[Variable]:
        if self.variables is None:
            self.variables = self._run.metadata.variables(plan.table)
        return self.variables


class QuerySource:
    """The result of a query, which is run for each load: only running it shows whether it changed.

    It has what ``TableSource`` has.
    """

    replication_methods: Sequence[str] = ("FULL_TABLE", "INCREMENTAL")
    can_prefetch = False
    containers: Sequence[ContainerRef] = ()

    def __init__(self, run: RunContext, options: QueryOptions) -> None:
        self._run = run
        self.name = str(options)
        self.query = queries.Query(self.name, options.sql, options.default_dataset, options.default_workflow)
        self.variables: Sequence[Variable] | None = None
        # Its SQL is part of the table's name, so that another SQL is another table.
        text = "\n".join([options.sql, options.default_dataset or "", options.default_workflow or ""])
        pinned = f"{options} ({hashlib.sha256(text.encode()).hexdigest()[:8]})"
        self.table = TableInfo(reference=None, pinned=pinned, uri="", owner="", container="", name=options.name)

    def describe(self) -> TableInfo:
        """Check the versions that the query names; describe its result as a table without a version."""
        queries.check_versions(self._run.metadata, self.query)
        return self.table

    def columns(self) -> list[Variable]:
        """Find the columns for discovery, by running the query without its rows."""
        self.describe()
        return queries.query_columns(self._run.api, self.query, timeout=self._run.settings.request_timeout_seconds)

    def locate(self, plan: TablePlan) -> TablePlan:
        """Run the query."""
        query = self.query
        if plan.since is not None:
            query = replace(query, sql=queries.selection_from(query.sql, plan.since.condition()))
        plan, result = _through_query(plan, query, self._run)
        return _fit(plan, queries.result_columns(self._run.api, result), self._run)

    def relocate(self, plan: TablePlan) -> TablePlan:
        """Find out for an interrupted load which values arrive in another type than the catalog says."""
        query = plan.bookmark.reading.query if plan.bookmark.reading else None
        result = queries.completed_query(self._run.api, self.query, query or "")
        return plan if result is None else _fit(plan, queries.result_columns(self._run.api, result), self._run)

    def locate_vanished(self, plan: TablePlan) -> None:
        """Find nothing: the results of a query have no versions."""

    def drift(self, plan: TablePlan) -> Drift:  # noqa: ARG002 - a table needs it
        """Find no differences: only running the query would tell the variables."""
        return Drift()

    def preview(self, plan: TablePlan) -> TablePlan:
        """Find out nothing more: only running the query would tell."""
        return plan

    def probe(self, plan: TablePlan) -> bool:
        """Check token, scope and SQL; no row is read."""
        queries.query_columns(self._run.api, self.query, timeout=plan.request.timeout)
        logger.info("%s: can be run", self.query.name)
        return False


Source = TableSource | QuerySource
"""Where the rows of a stream come from: a name for the catalog, how it can be loaded, and what is known of it."""


def _fit(plan: TablePlan, variables: Sequence[Variable], run: RunContext) -> TablePlan:
    """Apply drift and log it; a ``SchemaChanged`` says that the catalog does not fit, if that is to be an error."""
    drift = plan_drift(plan, variables)
    if run.settings.on_schema_change == "fail":
        drift.require_fit(plan.table.pinned)
    for words in drift.breaking:
        logger.warning("%s: %s", plan.table.pinned, words)
    if drift.added:
        logger.info("%s: not in the catalog, and left out: %s", plan.table.pinned, "; ".join(drift.added))
    if drift.verdict:
        logger.info("%s: %s", plan.table.pinned, drift.verdict)
    return apply_drift(plan, variables)


def _through_query(plan: TablePlan, query: queries.Query, run: RunContext) -> tuple[TablePlan, queries.QueryResult]:
    """Read the result of a query instead of the table; a query that was run for the same reading is not run again."""
    before, result = plan.bookmark.reading, None
    # After an interruption: running a query again costs the user minutes.
    if before and before.query and before.fingerprint == plan.snapshot.fingerprint:
        result = queries.completed_query(run.api, query, before.query)
    if result is None:
        result = queries.run_query(run.api, query, timeout=plan.request.timeout)
    plan = replace(
        plan,
        query=result.id,
        table=replace(plan.table, uri=result.uri, rows=result.rows, bytes=result.bytes),
        request=replace(plan.request, table_uri=result.uri, in_one_answer=False),
    )
    return plan, result
