"""LOG_BASED: which earlier versions of a table can be compared with the current one, and the query for that."""

from collections.abc import Sequence
from dataclasses import replace

from tap_redivis.client.metadata import MetadataClient
from tap_redivis.errors import ConfigError, Forbidden, NotFound, Refused
from tap_redivis.model.columns import DELETED_AT, Column
from tap_redivis.model.references import parse_table, pinned
from tap_redivis.model.tables import TableInfo, Variable
from tap_redivis.planning.decision import MOST_VERSIONS_BETWEEN, same_table, versions_between, why_deletions_are_unknown
from tap_redivis.planning.sql import Comparison, change_column, why_not_comparable
from tap_redivis.planning.table_plan import TablePlan
from tap_redivis.runtime.logs import logger


def compare(plan: TablePlan, variables: Sequence[Variable], metadata: MetadataClient) -> tuple[TablePlan, str]:
    """Write the query for what changed since the last load; all rows are read where versions cannot be compared.

    Returns:
        The plan and the query; or a plan without a base and the reason why there is no query.

    Raises:
        ConfigError: The table has a variable with the name of the tap's mark of deleted rows.
    """
    if DELETED_AT in {variable.name.lower() for variable in variables}:
        raise ConfigError(
            f"the table has a variable {DELETED_AT}, which LOG_BASED needs for itself",
            where=plan.table.pinned,
            hint="Use FULL_TABLE",
        )
    if plan.base is None:
        return plan, ""
    try:
        earlier = _earlier_versions(plan, variables, metadata)
    except NotComparable as error:
        logger.info("%s: all rows are read, since %s", plan.table.pinned, error)
        return replace(plan, base=None), str(error)
    by_name = {variable.name.lower(): variable for variable in variables}
    compared = [by_name[column.name.lower()] for column in plan.columns]
    references = [table.pinned for table in earlier]
    comparison = Comparison(references, plan.table.pinned, compared, plan.selection.key_properties)
    names = [*(variable.name for variable in compared), comparison.change_column.name]
    return replace(plan, request=replace(plan.request, variables=names)), comparison.query()


def vanished_keys(plan: TablePlan, variables: Sequence[Variable], metadata: MetadataClient) -> tuple[TablePlan, str]:
    """Write the query for the keys that vanished since the last load; a ``NotComparable`` says why there is none."""
    before, now = plan.bookmark, plan.snapshot
    if reason := why_deletions_are_unknown(before, now):
        raise NotComparable(reason)
    keys = [column for column in plan.columns if column.name in plan.selection.key_properties]
    between = versions_between(before.version_tag, now.version_tag)[-MOST_VERSIONS_BETWEEN:]
    earlier = []
    for tag in dict.fromkeys([before.version_tag, *between, before.reading and before.reading.version_tag]):
        try:
            earlier.append(_version(plan, str(tag), keys, variables, metadata).pinned)
        except NotComparable:
            if tag == before.version_tag:  # of the others, at most an interrupted load has left rows
                raise
    key_names = [key.name for key in keys]
    compared = [each for each in variables if each.name.lower() in {name.lower() for name in key_names}]
    comparison = Comparison(earlier, plan.table.pinned, compared, key_names)
    names = [*(each.name for each in compared), change_column(column.name for column in plan.columns).name]
    columns = tuple(replace(column, is_gone=column not in keys) for column in plan.columns)
    request, before = replace(plan.request, variables=names), replace(before, reading=None)
    return replace(plan, base=earlier[0], columns=columns, request=request, bookmark=before), comparison.gone(names[-1])


class NotComparable(Exception):
    """Versions cannot be compared; the message is the reason."""


def _earlier_versions(plan: TablePlan, variables: Sequence[Variable], metadata: MetadataClient) -> list[TableInfo]:
    """Ask the server for the version that was loaded and for those between it and this one."""
    before = plan.bookmark
    tags = [str(before.version_tag), *versions_between(before.version_tag, plan.snapshot.version_tag)]
    earlier = [_version(plan, tag, plan.columns, variables, metadata) for tag in tags]
    hashes = {earlier[0].hash, before.hash}
    is_other = len(hashes) > 1 and None not in hashes
    if is_other or earlier[0].rows != before.rows or not same_table(before.table, earlier[0].pinned):
        raise NotComparable(f"{tags[0]} is not what was loaded")
    return earlier


def _version(
    plan: TablePlan, tag: str, columns: Sequence[Column], variables: Sequence[Variable], metadata: MetadataClient
) -> TableInfo:
    """Ask the server for an earlier version of the table, which must have the columns as the current one has them."""
    try:
        reference = parse_table(str(plan.bookmark.table), f"state, stream {plan.selection.stream}")
        [table] = metadata.find(replace(reference, container=pinned(reference.container, tag)))
        listed = metadata.variables(table)
    except (ConfigError, NotFound, Forbidden, Refused) as error:
        raise NotComparable(f"{tag} cannot be read ({error.what})") from error
    if reason := table.unreadable or why_not_comparable(columns, listed, variables):
        raise NotComparable(f"{tag} cannot be compared with it ({reason})")
    return table
