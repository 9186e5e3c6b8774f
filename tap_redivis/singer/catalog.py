"""A catalog that was given → the streams that it selects; those that it does not select cost no request."""

from collections.abc import Mapping

from singer_sdk import Tap
from singer_sdk.singerlib import Catalog, CatalogEntry

from tap_redivis.errors import ConfigError
from tap_redivis.model.json_schema import DICTIONARY, UPLOAD
from tap_redivis.model.references import TableRef, parse_table, parse_upload
from tap_redivis.runtime.logs import logger
from tap_redivis.singer import discovery
from tap_redivis.singer.added_columns import table_named
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sdk import SdkStream
from tap_redivis.singer.sources import QuerySource, Source, TableSource
from tap_redivis.singer.streams import TableStream


def streams_of(catalog: Catalog, tap: Tap, run: RunContext, dictionary: Mapping[str, SdkStream]) -> list[SdkStream]:
    """Make the selected streams of a catalog; those of the data dictionary are given by name."""
    chosen = [entry for entry in catalog.streams if entry.metadata.resolve_selection()[()]]
    if not chosen:
        logger.warning("the catalog selects no stream: there is nothing to do")
    streams: list[SdkStream] = []
    for entry in chosen:
        try:
            name, schema = entry.tap_stream_id, entry.schema.to_dict()
            streams.append(dictionary.get(name) or TableStream(tap, run, name, schema, _source_of(entry, run)))
        except ConfigError:
            raise
        except Exception as failure:  # noqa: BLE001 - of this stream, whatever it is; the others go on
            run.note_failure(entry.tap_stream_id, failure)
    # Options of tables that are not selected are no mistake.
    names = [entry.table or "" for entry in catalog.streams]
    if all(names):  # catalogs of other programs do not say which table a stream is
        discovery.warn_of_unmatched_options(run.settings, list(filter(None, map(table_named, names))))
    return streams


def _source_of(entry: CatalogEntry, run: RunContext) -> Source:
    name, where = entry.tap_stream_id, f"catalog, stream {entry.tap_stream_id}"
    if entry.table == DICTIONARY:
        raise ConfigError(
            "the settings leave the data dictionary out",
            where=where,
            hint="Set include_dictionary to true, or deselect the stream",
        )
    query = next((each for each in run.settings.queries if discovery.name_of_query(each) == name), None)
    if query and entry.table in {None, str(query)}:
        return QuerySource(run, query)
    if entry.table and entry.table.startswith(UPLOAD):
        upload = parse_upload(entry.table.removeprefix(UPLOAD), f"{where}, table_name")
        return TableSource(run, upload.table, upload.name)
    return TableSource(run, _reference_of(entry, run))


def _reference_of(entry: CatalogEntry, run: RunContext) -> TableRef:
    """Read which table a stream is; in a catalog that another program wrote it is found by its name."""
    where = f"catalog, stream {entry.tap_stream_id}"
    if entry.table and not entry.table.startswith("query "):
        return parse_table(entry.table, f"{where}, table_name")
    # This asks for all tables of the settings; catalogs of the tap have a table_name instead.
    failures: discovery.Failures = {}
    for table in discovery.find_named(run.metadata, run.settings, failures)[1]:
        if table.reference and discovery.name_of_table(table, run.settings) == entry.tap_stream_id:
            return table.reference
    if failures:  # it may be one of what could not be found out
        raise next(iter(failures.values()))
    raise ConfigError(
        "no table and no query of the settings has this stream's name", where=where, hint="Discover again"
    )
