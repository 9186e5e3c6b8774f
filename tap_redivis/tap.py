"""The tap: command line, settings, discovery, ``--test``, and how a run ends."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

import click
from singer_sdk import Stream, Tap
from singer_sdk.exceptions import ConfigValidationError, MappingError
from singer_sdk.helpers.capabilities import CapabilitiesEnum, PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import _ConfigInput
from singer_sdk.singerlib import Catalog, CatalogEntry, StateMessage

from tap_redivis.client.http import Api
from tap_redivis.client.metadata import Metadata
from tap_redivis.client.queries import check_versions, query_columns
from tap_redivis.client.uploads import find_uploads
from tap_redivis.errors import ConfigError, Forbidden, NotFound, RedivisError, one_line
from tap_redivis.model.added_columns import ROW_KEY
from tap_redivis.model.json_schema import DICTIONARY, UPLOAD, name_warnings, replication_keys, schema_of
from tap_redivis.model.references import STREAM_NAME_LIMIT, TableRef, UploadRef, parse_table, parse_upload, stream_name
from tap_redivis.model.settings import PARALLEL_REQUESTS, QueryOptions, Settings, TableOptions
from tap_redivis.model.tables import TableInfo, Variable
from tap_redivis.planning.bookmarks import from_state, is_of_dictionary, to_state
from tap_redivis.runtime.logs import hide
from tap_redivis.runtime.memory import give_back_large_blocks
from tap_redivis.runtime.progress import Result, TableView, show_tables, summarize
from tap_redivis.runtime.shutdown import SHUTDOWN, Termination
from tap_redivis.singer.about import about_text
from tap_redivis.singer.added_columns import properties_to_add, settle, with_row_key
from tap_redivis.singer.config_schema import CONFIG_SCHEMA
from tap_redivis.singer.discovery import find_tables
from tap_redivis.singer.messages import ChangedStateWriter, MessageWriter
from tap_redivis.singer.prefetch import LookAhead, Opened, Opening, open_ahead
from tap_redivis.singer.query_stream import QueryStream, query_of
from tap_redivis.singer.streams import TableStream
from tap_redivis.singer.upload_stream import UploadStream

if TYPE_CHECKING:  # what most runs do not need is imported where it is needed
    from tap_redivis.singer.dictionary.dictionary import Dictionary
    from tap_redivis.singer.dictionary_stream import DictionaryStream
    from tap_redivis.singer.plan_report import Planned, Rate

logger = logging.getLogger("tap-redivis")

_MOST_DESCRIPTIONS = 500
_STREAM_NAME = re.compile(rf"[a-z0-9_]{{1,{STREAM_NAME_LIMIT}}}")


class TapRedivis(Tap):
    """Singer tap for Redivis: one stream a table, read through read sessions, resumable to the row."""

    name = "tap-redivis"
    config_jsonschema = deepcopy(CONFIG_SCHEMA)  # the SDK adds its own settings to it when a tap is made
    message_writer_class = MessageWriter
    dynamic_catalog = True
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        PluginCapabilities.ACTIVATE_VERSION,
        TapCapabilities.LOG_BASED,
        PluginCapabilities.BATCH,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]

    def __init__(self, *, plans: bool = False, **keywords: Any) -> None:  # noqa: ANN401 - the SDK's
        self.plans = plans
        self._settings: Settings | None = None
        self._api: Api | None = None
        self._metadata: Metadata | None = None
        self._dictionary: Dictionary | None = None
        self._look_ahead: LookAhead | None = None
        self._describe = False
        self._is_settled = False
        self._has_asked_for_all = False
        self.failures: dict[str, RedivisError] = {}
        self.results: list[Result] = []
        super().__init__(**keywords)
        self._state_writer = ChangedStateWriter(self.writer)

    # --- parts that streams use --------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings, read once."""
        if self._settings is None:
            self._settings = Settings.from_config(self.config)
            hide(self._settings.api_token)
            for name in sorted(self.config.keys() - self.config_jsonschema["properties"].keys()):
                logger.warning("config: there is no setting %r; it has no effect", name)
        return self._settings

    @property
    def api(self) -> Api:
        """The server."""
        if self._api is None:
            self._api = Api(
                self.settings.api_endpoint,
                self.settings.api_token,
                timeout=self.settings.request_timeout_seconds,
                max_retry_seconds=self.settings.max_retry_seconds,
                max_requests=self.settings.max_requests,
            )
        return self._api

    @property
    def catalogue(self) -> Metadata:
        """What the server has: one view of it for the whole run."""
        if self._metadata is None:
            self._metadata = Metadata(self.api)
        return self._metadata

    @property
    def dictionary(self) -> Dictionary:
        """The data dictionary of all that the settings name."""
        if self._dictionary is None:
            from tap_redivis.singer.dictionary.entries import dictionary_of  # noqa: PLC0415 - few settings ask for it

            self._dictionary = dictionary_of(self)
        return self._dictionary

    @property
    def look_ahead(self) -> LookAhead:
        """What opens tables before their turn."""
        if self._look_ahead is None:
            tables = [stream for stream in self.streams.values() if isinstance(stream, TableStream)]
            most = self.settings.max_requests
            self._look_ahead = LookAhead(self._begin_to_open, tables, most if most > 1 else 0)
        return self._look_ahead

    def _begin_to_open(self, opening: Opening) -> Future[Opened]:
        return self.api.workers.submit(open_ahead, self.api, self.catalogue, opening)

    @property
    def writer(self) -> MessageWriter:
        """The writer of all messages."""
        return cast("MessageWriter", self.message_writer)

    def current_table(self, stream: TableStream) -> TableInfo:
        """Find a stream's table as it is now; the datasets of all selected streams are asked for together.

        Raises:
            RedivisError: It is not there.
        """
        if stream.table is not None:
            return stream.table
        if not self._has_asked_for_all:
            self._has_asked_for_all = True
            selected = [other for other in self.streams.values() if isinstance(other, TableStream) and other.selected]
            containers = [container for other in selected for container in other.containers]
            self.catalogue.try_to_load(containers, self.settings.workflows)
        assert stream.reference is not None  # noqa: S101 - what has none, a query, knows itself
        return self.catalogue.find(stream.reference)[0]

    def note_failure(self, stream: str, error: RedivisError) -> None:
        """Note that a stream could not be loaded; the others go on, and the run fails at its end."""
        self.failures[stream] = error
        logger.error("%s: %s", stream, error)

    # --- catalog and stream maps -------------------------------------------------------------------------------------

    @property
    def input_catalog(self) -> Catalog | None:
        """The catalog that was given, with the columns that the tap adds as they are to be now."""
        catalog = super().input_catalog
        if catalog is not None and not self._is_settled:
            self._is_settled = True
            dictionary = {stream.name for stream in self._dictionary_streams()}
            for entry in catalog.streams:
                if entry.tap_stream_id in dictionary:
                    continue
                settle(entry, row_key=self.settings.row_key, lineage=self.settings.lineage)
        return catalog

    def setup_mapper(self) -> None:
        """Make the stream maps; one that keeps only what it names keeps the row key too, as a key must be kept.

        Raises:
            ConfigError: They cannot be used.
        """
        super(Tap, self).setup_mapper()
        stream_maps = self.mapper.stream_maps_dict
        for name, entry in self.catalog.items():
            self.mapper.stream_maps_dict = (
                with_row_key(stream_maps) if entry.key_properties == [ROW_KEY] else stream_maps
            )
            try:
                self.mapper.register_raw_streams_from_catalog(Catalog({name: entry}))
            except (MappingError, AttributeError, TypeError, ValueError) as error:
                raise ConfigError(
                    f"the stream maps cannot be used ({one_line(str(error)).rstrip('.')})",
                    where=f"stream_maps, stream {name}",
                    todo="Correct them; the SDK's guide to stream maps says what they may hold",
                ) from error

    # --- discovery ---------------------------------------------------------------------------------------------------

    def discover_streams(self) -> Sequence[Stream]:
        """Make the streams: those selected in the catalog if there is one, else every table that the settings name.

        Raises:
            RedivisError: A reference leads nowhere, or the server refused.
        """
        self.settings.require_source()
        if self.input_catalog is not None:
            return self._streams_of(self.input_catalog)
        tables = [*find_tables(self.catalogue, self.settings), *self._found_uploads()]
        variables = list(self.api.workers.map(self._variables, tables))
        if self._describe:
            variables = self._described(tables, variables)
        streams = [self._discovered(table, listed) for table, listed in zip(tables, variables, strict=True)]
        return self._named([*streams, *self._discovered_queries(), *self._dictionary_streams()])

    @property
    def streams(self) -> dict[str, Stream]:
        """The streams by name, the dictionary's last: it says what of the others was loaded."""
        if self._streams is None:
            self._streams = super().streams
            self._streams = {stream.name: stream for stream in sorted(self._own_streams, key=lambda each: each.turn)}
        return self._streams

    @property
    def _own_streams(self) -> list[TableStream | DictionaryStream]:
        return cast("list[TableStream | DictionaryStream]", list(self.streams.values()))

    def _dictionary_streams(self) -> list[DictionaryStream]:
        if not self.settings.include_dictionary:
            return []
        from tap_redivis.singer.dictionary.topics import TOPICS  # noqa: PLC0415 - few settings ask for it
        from tap_redivis.singer.dictionary_stream import DictionaryStream  # noqa: PLC0415 - the same

        return [DictionaryStream(self, topic) for topic in TOPICS]

    def _found_uploads(self) -> list[TableInfo]:
        wanted = self.settings.uploads
        found = [each for reference in wanted for each in find_uploads(self.api, self.catalogue, reference)]
        return list({each.pinned: each for each in found}.values())

    def run_discovery(self) -> str:
        """Write the catalog, with the descriptions of variables."""
        self._describe = True
        return super().run_discovery()

    def _variables(self, table: TableInfo) -> list[Variable]:
        try:
            return self.catalogue.variables(table)
        except (Forbidden, NotFound):
            if table.unreadable is None:
                raise
            return []

    def _described(self, tables: Sequence[TableInfo], variables: list[list[Variable]]) -> list[list[Variable]]:
        """Add the variables' descriptions, unless that would use up the rate limit: each costs a request."""
        if sum(map(len, variables)) > _MOST_DESCRIPTIONS:
            logger.warning("descriptions of variables are left out: there are more than %d", _MOST_DESCRIPTIONS)
            return variables
        return [self.catalogue.described(table, listed) for table, listed in zip(tables, variables, strict=True)]

    def name_of(self, table: TableInfo) -> str:
        """Give the name of a table's stream; a sample is another version, so that both may be loaded."""
        sample = " sample" if table.reference and table.reference.container.sample else ""
        return stream_name(
            self.settings.stream_name_format,
            owner=table.owner,
            dataset=table.container,
            table=table.name,
            version=f"{table.version_tag or ''}{sample}",
        )

    def _discovered(self, table: TableInfo, variables: Sequence[Variable]) -> TableStream:
        options = self.settings.options_for(table.name)
        variables = _wanted(table, variables, options)
        name = self.name_of(table)
        method = _method_of(options, f"table_options for {table.pinned}")
        stream = self._stream_over(table, name, schema_of(variables, table.description))
        stream.table, stream.variables = table, variables if options.variables is None else None
        stream.primary_keys = list(options.key_properties)
        stream.valid_replication_keys = replication_keys(variables)
        stream.forced_replication_method = method if variables and not table.is_upload else "FULL_TABLE"
        if options.replication_key and variables and not table.is_upload:
            [stream.replication_key] = _columns_named([options.replication_key], variables, "table_options")
        stream.selected_by_default = table.unreadable is None
        if table.unreadable:
            logger.warning("%s is not selected: %s", table.pinned, table.unreadable)
        for warning in name_warnings(variables):
            logger.warning("%s: %s", table.pinned, warning)
        self._add_columns(stream)
        return stream

    def _stream_over(self, table: TableInfo, name: str, schema: dict[str, Any]) -> TableStream:
        if table.upload is not None and table.reference:
            return UploadStream(self, name, schema, UploadRef(table.reference, table.upload))
        return TableStream(self, name, schema, table.reference)

    def _discovered_queries(self) -> list[QueryStream]:
        """Make the streams of the queries; each is run without its rows, to know its columns, but not for a plan."""
        queries = list(self.settings.queries)
        if self.plans:
            return [QueryStream(self, _stream_name(query), schema_of([], None), query) for query in queries]
        few = min(PARALLEL_REQUESTS, self.settings.max_requests)  # Redivis runs five at once (redivis-api §1.7)
        columns = list(ThreadPoolExecutor(few).map(self._columns_of_query, queries))
        return [self._discovered_query(query, listed) for query, listed in zip(queries, columns, strict=True)]

    def _columns_of_query(self, options: QueryOptions) -> list[Variable]:
        query = query_of(options)
        check_versions(self.catalogue, query)
        return query_columns(self.api, query, timeout=self.settings.request_timeout_seconds)

    def _discovered_query(self, query: QueryOptions, variables: Sequence[Variable]) -> QueryStream:
        stream = QueryStream(self, _stream_name(query), schema_of(variables, None), query)
        where = f"queries, {query.name}"
        stream.primary_keys = _columns_named(query.key_properties, variables, where)
        stream.valid_replication_keys = replication_keys(variables)
        stream.forced_replication_method = "FULL_TABLE"
        if query.replication_key:
            [stream.replication_key] = _columns_named([query.replication_key], variables, where)
            stream.forced_replication_method = "INCREMENTAL"
        for warning in name_warnings(variables):
            logger.warning("%s: %s", query, warning)
        self._add_columns(stream)
        return stream

    def _add_columns(self, stream: TableStream) -> None:
        """Give a discovered stream the columns that the tap adds."""
        properties = stream.schema["properties"]
        needs_key = not stream.primary_keys and stream.forced_replication_method == "FULL_TABLE"
        new, taken = properties_to_add(
            properties,
            row_key=self.settings.row_key and needs_key,
            lineage=self.settings.lineage,
            log_based=stream.is_log_based,
        )
        properties.update(new)
        if ROW_KEY in new:
            stream.primary_keys = [ROW_KEY]
        for name in taken:
            logger.warning(
                "%s has a variable %r of its own: the tap's column of that name is left out", stream.source, name
            )

    def _named(self, streams: Sequence[TableStream | DictionaryStream]) -> Sequence[Stream]:
        """Check that no two tables or queries share a stream's name."""
        by_name: dict[str, TableStream | DictionaryStream] = {}
        for stream in streams:
            other = by_name.setdefault(stream.name, stream)
            if other is not stream:
                raise ConfigError(
                    f"{other.source} and {stream.source} would both be the stream {stream.name!r}",
                    where="stream_name_format",
                    todo="Use {owner}__{dataset}__{table}, or add {version}; call a query otherwise",
                )
        return streams

    def _streams_of(self, catalog: Catalog) -> list[Stream]:
        """Make the selected streams of a catalog: others cost nothing."""
        chosen = [entry for entry in catalog.streams if entry.metadata.resolve_selection()[()]]
        if not chosen:
            logger.warning("the catalog selects no stream: there is nothing to do")
        queries = {_stream_name(query): query for query in self.settings.queries}
        dictionary = {stream.name: stream for stream in self._dictionary_streams()}
        return [
            dictionary[entry.tap_stream_id]
            if entry.tap_stream_id in dictionary
            else self._stream_of(entry, queries.get(entry.tap_stream_id))
            for entry in chosen
        ]

    def _stream_of(self, entry: CatalogEntry, query: QueryOptions | None) -> TableStream:
        name, schema = entry.tap_stream_id, entry.schema.to_dict()
        if entry.table == DICTIONARY:
            raise ConfigError(
                "the settings leave the data dictionary out",
                where=f"catalog, stream {name}",
                todo="Set include_dictionary to true, or deselect the stream",
            )
        if query and entry.table in {None, str(query)}:
            return QueryStream(self, name, schema, query)
        if entry.table and entry.table.startswith(UPLOAD):
            upload = parse_upload(entry.table.removeprefix(UPLOAD), f"catalog, stream {name}, table_name")
            return UploadStream(self, name, schema, upload)
        return TableStream(self, name, schema, self._reference_of(entry))

    def _reference_of(self, entry: CatalogEntry) -> TableRef | None:
        """Read which table a catalog's stream is; a catalog of another's making is matched by its names."""
        if entry.table and not entry.table.startswith("query "):
            return parse_table(entry.table, f"catalog, stream {entry.tap_stream_id}, table_name")
        for table in find_tables(self.catalogue, self.settings):
            if self._discovered(table, []).name == entry.tap_stream_id:
                return table.reference
        raise ConfigError(
            "no table and no query of the settings has this stream's name",
            where=f"catalog, stream {entry.tap_stream_id}",
            todo="Discover again",
        )

    # --- state -------------------------------------------------------------------------------------------------------

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the bookmarks that can be read; others are dropped with a warning: never a crash, never a guess.

        Raises:
            ConfigError: The state as a whole is damaged.
        """
        bookmarks = state.get("bookmarks", {}) if isinstance(state, Mapping) else None
        if not isinstance(bookmarks, Mapping):
            raise _unusable("--state", "it is not an object with bookmarks")
        super().load_state({"bookmarks": dict(filter(None, map(_readable_bookmark, bookmarks.items())))})

    def write_last_state(self) -> None:
        """Make STATE the last message (targets.md, rule 14)."""
        if self.writer.last_type not in {None, "STATE"}:
            self.write_message(StateMessage(value=self.state))

    # --- command line ------------------------------------------------------------------------------------------------

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Validate the settings; the SDK's own way stumbles over a text where it expects a map."""
        try:
            return super()._validate_config(raise_errors=raise_errors)
        except AttributeError as error:
            raise ConfigError(
                f"a setting has a value of another type than it should ({error})",
                where="config",
                todo="See `tap-redivis --about`",
            ) from error

    def _setup_signal_handlers(self) -> None:
        """Install ours: the SDK's handler writes STATE into half-written lines and exits with 0 (singer-sdk.md)."""
        SHUTDOWN.install()

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> _ConfigInput:
        """Read the config files.

        Raises:
            ConfigError: One cannot be read.
        """
        try:
            return super().cb_config(ctx, param, value)
        except (OSError, ValueError, TypeError) as error:
            words = one_line(str(error)).rstrip(".")
            raise _unusable(f"--config {' '.join(value)}", f"it cannot be read ({words})") from None

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Build the command line: the SDK's and ours, with ``--discover`` and ``--test`` seeing catalog and state."""
        command = super().get_singer_command()
        for option in command.params:
            if option.name == "test":
                option.callback, option.expose_value = None, True
            elif option.name == "about_format":
                option.type = click.Choice(["text", "json", "markdown"])
        command.params = [option for option in command.params if option.name != "discover"]
        command.params.append(
            click.Option(
                ["--discover"],
                is_flag=False,
                flag_value="json",
                type=click.Choice(["json", "table"]),
                help="Write the catalog; with --discover=table a list of the tables for people.",
            )
        )
        command.params.append(
            click.Option(
                ["--plan"],
                is_flag=False,
                flag_value="text",
                type=click.Choice(["text", "json"]),
                help="Say what a run with this config, catalog and state would read, and why, without reading it.",
            )
        )
        command.params.append(
            click.Option(
                ["--rate"],
                metavar="ROWS|MB",
                help="What the minutes of --plan go by: rows a second, as 20000, or megabytes, as 12MB. Without it, "
                "what the last load of each table took.",
            )
        )
        return command

    @classmethod
    def print_about(cls, output_format: str | None = None) -> None:
        """Say what the tap is and can; as text in our own words, since the SDK's do not say what settings mean."""
        if output_format in {None, "text"}:
            click.echo(about_text(cls._get_about_info()))
        else:
            super().print_about(output_format)

    @classmethod
    def invoke(  # type: ignore[override]  # noqa: PLR0913 - an argument an option
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: _ConfigInput | None = None,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
        discover: str | None = None,
        plan: str | None = None,
        rate: str | None = None,
        test: str = "disabled",
    ) -> None:
        """Run the tap.

        Raises:
            RedivisError: It could not begin.
            SystemExit: It ended; 1 if a table could not be loaded.
        """
        super(Tap, cls).invoke(about=about, about_format=about_format)
        config = config or _ConfigInput()
        hide(config.config.get("api_token"))
        given_rate = _given_rate(rate)
        if rate and not plan:
            raise ConfigError("it means nothing without --plan", where="--rate", todo="Add --plan, or leave it out")
        try:
            tap = cls(
                plans=plan is not None,
                config=config.config,
                state=_state_of(state),
                catalog=_catalog_of(catalog),
                parse_env_config=config.parse_env,
                setup_mapper=discover is None,
            )
        except ConfigValidationError as error:
            raise ConfigError("; ".join(error.errors), where="config", todo="See `tap-redivis --about`") from None
        if discover == "table":
            show_tables([_shown(stream) for stream in tap.streams.values() if isinstance(stream, TableStream)])
        elif discover:
            tap.run_discovery()
        elif plan:
            from tap_redivis.singer.plan_report import show_plan  # noqa: PLC0415 - a run needs no plan

            show_plan(tap.make_plan(given_rate), as_json=plan == "json")
        elif test == "schema":
            tap.write_schemas()
        elif test != "disabled":
            tap.run_probes()
        else:
            tap.run_sync()
        tap.end()

    def run_probes(self) -> None:
        """Check that each selected table can be read."""
        for stream in self._own_streams:
            if stream.selected:
                try:
                    stream.probe()
                except RedivisError as error:
                    self.note_failure(stream.name, error)

    def make_plan(self, rate: Rate | None) -> list[Planned]:
        """Find out what a run would do; what cannot be found out counts as a failure.

        Args:
            rate: What the estimates go by, if the user gave it.
        """
        from tap_redivis.singer.plan_report import failed, plan_of  # noqa: PLC0415 - a run needs no plan

        plans: list[Planned] = []
        for stream in self._own_streams:
            try:
                plans += filter(None, [plan_of(stream, rate, plans)])
            except RedivisError as error:
                self.note_failure(stream.name, error)
                plans.append(failed(stream, error))
        return plans

    def run_sync(self) -> None:
        """Load all selected streams.

        Raises:
            Termination: A signal asked to end; STATE of what is out has been written.
        """
        give_back_large_blocks()
        try:
            with SHUTDOWN.ending():
                self.sync_all()
        except Termination:
            with suppress(Termination):
                self.write_last_state()
            raise
        self.write_last_state()
        summarize(self.results)

    def end(self) -> None:
        """Say how the run went.

        Raises:
            SystemExit: With 1, if something failed.
        """
        if self.failures:
            if len(self.streams) > 1:
                failed = ", ".join(sorted(self.failures))
                logger.error("%d of %d streams failed: %s", len(self.failures), len(self.streams), failed)
            sys.exit(1)


def _given_rate(text: str | None) -> Rate | None:
    if text is None:
        return None
    from tap_redivis.singer.plan_report import rate_of  # noqa: PLC0415 - a run needs no plan

    return rate_of(text)


def _shown(stream: TableStream) -> TableView:
    table, columns = stream.table, len(stream.schema["properties"]) - len(stream.added_columns)
    if table is None:
        return TableView(stream.name, stream.source, None, None, columns, "not asked", selected=stream.selected)
    access = "readable" if table.unreadable is None else table.unreadable
    source = stream.source if table.reference is None else table.pinned
    return TableView(stream.name, source, table.rows, table.bytes, columns, access, selected=stream.selected)


def _method_of(options: TableOptions, where: str) -> str:
    """Find out how a table is to be loaded.

    Raises:
        ConfigError: Two ways are named.
    """
    if options.replication_key is None:
        return options.replication_method or "FULL_TABLE"
    if options.replication_method is None:
        return "INCREMENTAL"
    raise ConfigError(
        f"there are both a replication_key and the replication_method {options.replication_method}",
        where=where,
        todo="Leave one of them out",
    )


def _wanted(table: TableInfo, variables: Sequence[Variable], options: TableOptions) -> Sequence[Variable]:
    """Take the variables that ``table_options`` names, and check them.

    Raises:
        ConfigError: One is not there.
    """
    by_name = {variable.name.lower(): variable for variable in variables}
    named = [*(options.variables or ()), *options.key_properties, *filter(None, [options.replication_key])]
    missing = [name for name in named if name.lower() not in by_name]
    if missing and variables:
        raise ConfigError(
            f"there is no variable {', '.join(missing)}",
            where=f"table_options for {table.pinned}",
            todo="Check the names; `tap-redivis --discover` lists them",
        )
    if options.variables is None:
        return variables
    return [variable for variable in variables if variable.name.lower() in {name.lower() for name in named}]


def _columns_named(names: Sequence[str], variables: Sequence[Variable], where: str) -> list[str]:
    """Find columns by their names, in the server's spelling.

    Raises:
        ConfigError: One is not there.
    """
    spelled = {variable.name.lower(): variable.name for variable in variables}
    if missing := [name for name in names if name.lower() not in spelled]:
        raise ConfigError(
            f"there is no column {', '.join(missing)}",
            where=where,
            todo=f"Name some of {', '.join(spelled.values())}",
        )
    return [spelled[name.lower()] for name in names]


def _stream_name(query: QueryOptions) -> str:
    """Take a query's name for its stream, as it is if it can be one."""
    if _STREAM_NAME.fullmatch(query.name):
        return query.name
    return stream_name("{table}", owner="", dataset="", table=query.name, version="")


def _readable_bookmark(item: tuple[str, Any]) -> tuple[str, dict[str, Any]] | None:
    stream, state = item
    try:
        if not is_of_dictionary(state):
            return stream, to_state(from_state(state))
        from tap_redivis.singer.dictionary.bookmark import readable  # noqa: PLC0415 - few states have it

        return stream, readable(state)
    except ValueError as error:
        logger.warning(
            "state, stream %s: the bookmark is damaged (%s) and is dropped: all rows are read", stream, error
        )
        return None


def _state_of(file: IO[str] | None) -> dict[str, Any] | None:
    """Read a state, or what Meltano keeps one in (`meltano state get`)."""
    value = _json_of(file, "--state")
    if value is None or value.keys() != {"singer_state"}:
        return value
    if not isinstance(value["singer_state"], dict):
        raise _unusable("--state", "it is not an object with bookmarks")
    return value["singer_state"]


def _json_of(file: IO[str] | None, option: str) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        value = json.load(file)
    except (OSError, ValueError) as error:
        raise _unusable(f"{option} {file.name}", f"it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise _unusable(f"{option} {file.name}", "it is not a JSON object")
    return value


def _catalog_of(file: IO[str] | None) -> Catalog | None:
    value = _json_of(file, "--catalog")
    if value is None:
        return None
    if not isinstance(value.get("streams"), list):
        raise _unusable("--catalog", "it is no Singer catalog: it has no list of streams")
    try:
        for stream in value["streams"]:
            stream.update(_chosen_method(stream))
        catalog = Catalog.from_dict(value)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _unusable("--catalog", f"it is no Singer catalog ({type(error).__name__}: {error})") from None
    if not all(_is_schema(stream.get("schema")) for stream in value["streams"]):
        raise _unusable("--catalog", "it is no Singer catalog: the schema of a stream is no JSON Schema")
    if not all(isinstance(entry.tap_stream_id, str) and entry.tap_stream_id for entry in catalog.streams):
        raise _unusable("--catalog", "it is no Singer catalog: a stream has no tap_stream_id")
    return catalog


def _chosen_method(stream: dict[str, Any]) -> dict[str, str]:
    """Find the replication method that was written into a stream's metadata, where the SDK does not look."""
    root: dict[str, Any] = next(
        (item["metadata"] for item in stream.get("metadata") or () if not item["breadcrumb"]), {}
    )
    method = root.get("replication-method")
    return {"replication_method": method} if method else {}


def _is_schema(value: Any) -> bool:  # noqa: ANN401 - anything may stand in a catalog
    """Whether something has the shape of a schema, as far as the SDK relies on it unseen."""
    if not isinstance(value, dict):
        return False
    types = value.get("type", [])
    names = types if isinstance(types, list) else [types]
    properties = value.get("properties", {})
    return (
        all(isinstance(name, str) for name in names)
        and isinstance(properties, dict)
        and all(map(_is_schema, properties.values()))
    )


def _unusable(where: str, what: str) -> ConfigError:
    return ConfigError(what, where=where, todo="Mend the file, or leave it out")
