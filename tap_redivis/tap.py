"""The tap: one run of discovery, of a plan, of ``--test``, or of a sync, and how it ends."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from functools import cache, cached_property, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import click
from singer_sdk import Stream, Tap
from singer_sdk.exceptions import MappingError
from singer_sdk.helpers.capabilities import CapabilitiesEnum, TapCapabilities
from singer_sdk.mapper import PluginMapper
from singer_sdk.singerlib import Catalog

from tap_redivis.client.http import Api
from tap_redivis.client.metadata import MetadataClient
from tap_redivis.errors import ConfigError, did_you_mean, one_line
from tap_redivis.model.columns import ROW_KEY
from tap_redivis.model.settings import Settings
from tap_redivis.runtime.logs import logger, register_secret
from tap_redivis.runtime.progress import quiet_terminal, show_tables, summarize
from tap_redivis.runtime.shutdown import SHUTDOWN, Termination, widen_pipe
from tap_redivis.runtime.standard_streams import OutputClosed
from tap_redivis.singer.about import about_text
from tap_redivis.singer.added_columns import reconcile_columns
from tap_redivis.singer.catalog import streams_of
from tap_redivis.singer.command_line import Rate, rate_of, refuse_together, with_own_options
from tap_redivis.singer.config_schema import CONFIG_SCHEMA, warn_of_unread_variables
from tap_redivis.singer.discovery import Discovery
from tap_redivis.singer.messages import PIPE_BYTES, MessageWriter
from tap_redivis.singer.prefetch import Prefetcher, prefetch
from tap_redivis.singer.run import RunContext
from tap_redivis.singer.sdk import ConfigInput, SdkStream, SdkTap
from tap_redivis.singer.state import RunState
from tap_redivis.singer.stream_maps import with_row_key
from tap_redivis.singer.streams import TableStream
from tap_redivis.singer.user_files import read_catalog, read_config, read_state, readable_bookmarks

_WIDTH = 100  # of what is read by people, at most

if TYPE_CHECKING:  # what most runs do not need is imported where it is needed
    from tap_redivis.singer.dictionary.stream import DictionaryStream


class TapRedivis(SdkTap):
    """Singer tap for Redivis: one stream a table, read through read sessions, resumable to the row."""

    name = "tap-redivis"
    config_jsonschema = deepcopy(CONFIG_SCHEMA)  # the SDK adds its own settings to it when a tap is made
    message_writer_class = MessageWriter
    dynamic_catalog = True
    capabilities: ClassVar[list[CapabilitiesEnum]] = [*Tap.capabilities, TapCapabilities.LOG_BASED]

    def __init__(self, *, plans: bool = False, **keywords: Any) -> None:  # noqa: ANN401 - the SDK's
        self.plans = plans
        self._with_descriptions = False
        self._is_reconciled = False
        super().__init__(**keywords)

    @cached_property
    def run(self) -> RunContext:
        """What the streams share; made when the settings are known."""
        settings = Settings.from_config(self.config)
        register_secret(settings.api_token)  # before the first log line that could hold it
        known = self.config_jsonschema["properties"].keys()
        for name in sorted(self.config.keys() - known):
            logger.warning("config: there is no setting %r%s; it has no effect", name, did_you_mean(name, known))
        api = Api(
            settings.api_endpoint,
            settings.api_token,
            timeout=settings.request_timeout_seconds,
            max_retry_seconds=settings.max_retry_seconds,
            max_requests=settings.max_requests,
        )
        metadata = MetadataClient(api)
        return RunContext(
            settings,
            api,
            metadata,
            self.writer,
            states=RunState(settings, self.writer, lambda: self.state, self.write_state),
            wanted=lambda: [each for stream in self._tables if stream.selected for each in stream.source.containers],
            prefetcher=Prefetcher(
                lambda request: api.workers.submit(prefetch, api, metadata, request),
                lambda: {stream.name: stream.preview for stream in self._tables},
                settings.max_requests if settings.max_requests > 1 else 0,
            ),
        )

    # --- streams -----------------------------------------------------------------------------------------------------

    @property
    def input_catalog(self) -> Catalog | None:
        """The catalog that was given, with the columns that the tap adds as they are to be now."""
        catalog = super().input_catalog
        if catalog is not None and not self._is_reconciled:
            self._is_reconciled = True
            dictionary = {stream.name for stream in self._dictionary}
            for entry in catalog.streams:
                if entry.tap_stream_id not in dictionary:
                    reconcile_columns(entry, self.run.settings)
        return catalog

    def discover_streams(self) -> Sequence[Stream]:
        """Make the streams: those selected in the catalog if there is one, else every table that the settings name."""
        self.run.settings.require_source()
        if self.input_catalog is not None:
            return streams_of(self.input_catalog, self, self.run, {each.name: each for each in self._dictionary})
        discovery = Discovery(self, self.run, self._with_descriptions, runs_queries=not self.plans)
        return _with_names_of_their_own([*discovery.streams(), *self._dictionary])

    @cached_property
    def _dictionary(self) -> "list[DictionaryStream]":
        """The streams of the data dictionary, if the settings ask for it; they say what of the others was loaded."""
        if not self.run.settings.include_dictionary:
            return []
        from tap_redivis.singer.dictionary.dictionary import describe  # noqa: PLC0415 - few settings ask for it
        from tap_redivis.singer.dictionary.stream import DictionaryStream  # noqa: PLC0415 - the same
        from tap_redivis.singer.dictionary.topics import TOPICS  # noqa: PLC0415 - the same

        # One for all of its streams, made when the first of them is read.
        dictionary = cache(lambda: describe(self.run, self._tables, partial(_name_in_target, self.mapper)))
        return [DictionaryStream(self, self.run, topic, dictionary) for topic in TOPICS]

    @property
    def _tables(self) -> list[TableStream]:
        return [stream for stream in self.streams.values() if isinstance(stream, TableStream)]

    def setup_mapper(self) -> None:
        """Make the stream maps; one that keeps only what it names keeps the row key too, as a key must be kept."""
        # The SDK's ``Tap`` registers all streams at once, and its error names none of them.
        if re.search(r"\bfake\.", json.dumps(self.config.get("stream_maps"))) and find_spec("faker") is None:
            what = "the expressions use fake, whose package is not installed"
            raise ConfigError(what, where="stream_maps", hint="pip install 'tap-redivis[faker]'")
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
                    hint="Correct them; the SDK's guide to stream maps says what they may hold",
                ) from error

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the bookmarks that can be read."""
        super().load_state({"bookmarks": readable_bookmarks(state)})

    # --- command line ------------------------------------------------------------------------------------------------

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> ConfigInput:  # noqa: ARG003
        """Read the config files."""
        return ConfigInput(read_config([path for path in value if path != "ENV"]), "ENV" in value)

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Build the command line."""
        return with_own_options(super().get_singer_command())

    @classmethod
    def print_about(cls, output_format: str | None = None) -> None:
        """Say what the tap is and can; as text in our own words, since the SDK's do not say what settings mean."""
        if output_format in {None, "text"}:
            click.echo(about_text(cls.about_info(), min(shutil.get_terminal_size((_WIDTH, 0)).columns, _WIDTH)))
        else:
            super().print_about(output_format)

    @classmethod
    def invoke(  # type: ignore[override]  # noqa: PLR0913 - an argument an option
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: ConfigInput | None = None,
        state: str | None = None,
        catalog: str | None = None,
        discover: str | None = None,
        plan: str | None = None,
        rate: str | None = None,
        test: str = "disabled",
    ) -> None:
        """Run the tap; exits with 1 if a table could not be loaded."""
        # The SDK's ``Tap`` would make a tap and run it; here the error of a setting is to be ours.
        super(Tap, cls).invoke(about=about, about_format=about_format)
        refuse_together(discover=discover, plan=plan, test=test)
        config = config or ConfigInput()
        register_secret(config.config.get("api_token"))
        given_rate = rate_of(rate)
        if rate and not plan:
            raise ConfigError("--rate requires --plan", where="--rate", hint="Add --plan, or omit --rate")
        if not config.parse_env:
            warn_of_unread_variables(config.config, cls.config_jsonschema["properties"])
        tap = cls(
            plans=plan is not None,
            config=config.config,
            state=read_state(state),
            catalog=read_catalog(catalog),
            parse_env_config=config.parse_env,
            setup_mapper=discover is None,
        )
        if discover == "table":
            show_tables(map(_listed, tap._tables))
        elif discover:
            tap.run_discovery()
        elif plan:
            tap.run_plan(given_rate, as_json=plan == "json")
        elif test == "schema":
            tap.write_schemas()
        elif test != "disabled":
            tap.run_probes()
        else:
            tap.run_sync()
        tap.end()

    # --- runs --------------------------------------------------------------------------------------------------------

    def run_discovery(self) -> str:
        """Write the catalog, with the descriptions of variables."""
        # They cost a request for each variable, and only a catalog shows them.
        self._with_descriptions = True
        return super().run_discovery()

    def run_plan(self, rate: Rate | None, *, as_json: bool) -> None:
        """Say what a run would do, as a table for people or as JSON; ``rate`` is what the estimates go by."""
        from tap_redivis.singer.plan_report import plans_of, show_plan  # noqa: PLC0415 - a run needs no plan

        show_plan(plans_of(self._own_streams, self.run, rate), as_json=as_json)

    def run_probes(self) -> None:
        """Check that each selected table can be read."""
        for stream in self._own_streams:
            if stream.selected:
                try:
                    stream.probe()
                except Exception as failure:  # noqa: BLE001 - of this stream, whatever it is; the others go on
                    self.run.note_failure(stream.name, failure)

    @property
    def _own_streams(self) -> "list[TableStream | DictionaryStream]":
        return [*self._tables, *(stream for stream in self._dictionary if stream.name in self.streams)]

    def run_sync(self) -> None:
        """Load all selected streams; a signal ends it after STATE of what was written."""
        quiet_terminal()
        if batch := self.run.settings.batch_config:
            batch.require_extras()
        if files := self.run.settings.files:
            files.require_extras()
        widen_pipe(PIPE_BYTES)
        try:
            with SHUTDOWN.signals_win():
                self.sync_all()
        except BaseException as end:
            # A second signal changes nothing, and ``end`` is raised. A file that is full ends with its last STATE.
            with suppress(Termination, OutputClosed):
                if not isinstance(end, OutputClosed):
                    self.write_state()
            summarize(self.run.results)
            if isinstance(end, Termination):
                end.words += "; run again with the last STATE"
            raise
        summarize(self.run.results)

    def end(self) -> None:
        """Say how the run went; exit with 1 if something failed."""
        failures = self.run.failures
        if failures:
            if (all_streams := len(self.streams.keys() | failures)) > 1:
                failed = ", ".join(sorted(failures))
                logger.error("%d of %d streams failed: %s", len(failures), all_streams, failed)
            sys.exit(1)


def _name_in_target(mapper: PluginMapper, stream: str) -> str:
    """Find what a stream is called in the target: a stream map may rename it."""
    maps = mapper.stream_maps.get(stream)
    return maps[0].stream_alias if maps else stream


def _with_names_of_their_own(streams: Sequence[SdkStream]) -> Sequence[SdkStream]:
    """Check that no two tables or queries share a stream's name."""
    by_name: dict[str, SdkStream] = {}
    for stream in streams:
        other = by_name.setdefault(stream.name, stream)
        if other is not stream:
            raise ConfigError(
                f"{other.source_name} and {stream.source_name} would both be the stream {stream.name!r}",
                where="stream_name_format",
                hint="Use {owner}__{dataset}__{table}, or add {version}; call a query otherwise",
            )
    return streams


def _listed(stream: TableStream) -> tuple[str, ...]:
    """Describe a table for ``--discover=table``; "access" is why it cannot be read, if it cannot."""
    source, table = stream.source.name, stream.source.table
    rows, size, access = "?", "?", "not asked"
    if table is not None:
        source = source if table.reference is None else table.pinned
        rows = rows if table.rows is None else f"{table.rows:,}"
        size = size if table.bytes is None else f"{table.bytes / 1e6:,.1f}"
        access = table.unreadable or "readable"
    columns = len(stream.schema["properties"]) - len(stream.added_columns)
    return stream.name, source, rows, size, str(columns), access, "yes" if stream.selected else "no"
