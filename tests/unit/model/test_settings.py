"""The settings are what the config, the environment and the defaults say, and what is dangerous is refused."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

import jsonschema
import pytest

from tap_redivis.errors import ConfigError
from tap_redivis.model.references import ContainerRef, TableRef
from tap_redivis.model.settings import DEFAULT_ENDPOINT, QueryOptions, Settings, TableOptions
from tap_redivis.singer.config_schema import CONFIG_SCHEMA

_TOKEN = "a-token"  # noqa: S105 - of no service
_SCHEMA = deepcopy(CONFIG_SCHEMA)  # before the SDK adds its own settings to it, when a tap is made


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIVIS_API_TOKEN", raising=False)
    monkeypatch.delenv("REDIVIS_API_ENDPOINT", raising=False)


def _settings(**config: Any) -> Settings:
    return Settings.from_config(config)


def test_an_empty_config_has_the_defaults_of_the_schema() -> None:
    settings = _settings()

    defaults = {name: each["default"] for name, each in _SCHEMA["properties"].items() if "default" in each}
    assert {name: getattr(settings, name) for name in defaults} == defaults
    assert settings.api_endpoint == DEFAULT_ENDPOINT
    assert settings.api_token is None


def test_null_means_the_default() -> None:
    """Meltano passes null for settings that nobody set."""
    assert _settings() == _settings(max_streams=None, datasets=None, api_token=None, table_options=None)


def test_fractions_are_floats() -> None:
    """The SDK reads them as Decimal, which no timeout may be."""
    settings = _settings(request_timeout_seconds=Decimal("1.5"), max_retry_seconds=Decimal(2), max_streams=2)

    assert [type(settings.request_timeout_seconds), type(settings.max_retry_seconds)] == [float, float]
    assert (settings.request_timeout_seconds, settings.max_retry_seconds, settings.max_streams) == (1.5, 2.0, 2)


def test_every_setting_of_the_schema_is_read() -> None:
    """A setting that is declared but has no attribute would be ignored."""
    assert set(_SCHEMA["properties"]) == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    "config",
    [
        {"max_streams": 0},
        {"max_streams": 9},
        {"max_rows": 0},
        {"datetime_zone": "local"},
        {"on_invalid_value": "skip"},
        {"datasets": "demo.flights"},
        {"state_interval_seconds": 0},
        {"table_options": {"flights": {"rows": 5}}},
        {"queries": [{"name": "days"}]},
        {"queries": [{"sql": "SELECT 1 AS one"}]},
    ],
)
def test_the_schema_refuses_what_has_no_meaning(config: Mapping[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, _SCHEMA)


def test_settings_that_the_sdk_adds_to_the_schema_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so when a tap is made, and a later version may add some that have defaults."""
    monkeypatch.setitem(CONFIG_SCHEMA["properties"], "flattening_enabled", {"type": ["boolean"], "default": False})

    assert _settings(flattening_enabled=True) == _settings()


def test_references_are_parsed() -> None:
    settings = _settings(datasets=["demo.flights:v1.0"], workflows=["demo.analysis"], tables=["demo.flights.p*"])

    assert settings.datasets == (ContainerRef("demo", "flights", version="v1_0"),)
    assert settings.workflows == (ContainerRef("demo", "analysis"),)
    assert settings.tables == (TableRef(ContainerRef("demo", "flights"), "p*"),)


@pytest.mark.parametrize("setting", ["datasets", "workflows", "tables"])
def test_a_malformed_reference_names_its_setting(setting: str) -> None:
    with pytest.raises(ConfigError, match=f"^{setting}: "):
        _settings(**{setting: ["demo"]})


def test_the_environment_fills_in_token_and_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIVIS_API_TOKEN", _TOKEN)
    monkeypatch.setenv("REDIVIS_API_ENDPOINT", "http://127.0.0.1:8080/api/v1/")

    settings = _settings()

    assert settings.api_token == _TOKEN
    assert settings.api_endpoint == "http://127.0.0.1:8080/api/v1"


def test_the_config_counts_more_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIVIS_API_TOKEN", "another")
    monkeypatch.setenv("REDIVIS_API_ENDPOINT", "https://another.example/api/v1")

    settings = _settings(api_token=_TOKEN, api_endpoint="https://redivis.example/api/v1")

    assert (settings.api_token, settings.api_endpoint) == (_TOKEN, "https://redivis.example/api/v1")


@pytest.mark.parametrize("variable", ["REDIVIS_API_TOKEN", "REDIVIS_API_ENDPOINT"])
def test_an_empty_environment_variable_is_none(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "")

    assert _settings() == _settings(api_token=None, api_endpoint=None)
    assert _settings().api_endpoint == DEFAULT_ENDPOINT


@pytest.mark.parametrize("query", [{"name": "", "sql": "SELECT 1"}, {"name": "q", "sql": ""}], ids=["name", "sql"])
def test_a_query_without_words_is_a_clear_error(query: dict[str, str]) -> None:
    """The schema asks for texts, which may be empty."""
    with pytest.raises(ConfigError, match=r"^queries: a query has no (name|sql)\. Give it a name"):
        _settings(queries=[query])


def test_the_token_is_not_in_the_representation() -> None:
    """Settings that end up in a log or a traceback show no secret."""
    assert _TOKEN not in repr(_settings(api_token=_TOKEN))


@pytest.mark.parametrize(
    "endpoint",
    ["https://redivis.com/api/v1", "https://stanford.redivis.com/api/v1", "http://localhost:8080/api/v1",
     "http://127.0.0.1/api/v1", "http://[::1]:8080/api/v1", "HTTPS://redivis.com/api/v1"],
)  # fmt: skip
def test_a_token_goes_over_https_or_stays_on_this_machine(endpoint: str) -> None:
    assert _settings(api_token=_TOKEN, api_endpoint=endpoint).api_token == _TOKEN


@pytest.mark.parametrize(
    "endpoint",
    ["http://redivis.com/api/v1", "http://localhost.example/api/v1", "http://127.0.0.1.example/api/v1",
     "http://localhost@redivis.example/api/v1", "http://[::2]/api/v1"],
)  # fmt: skip
def test_a_token_does_not_go_unencrypted_to_another_host(endpoint: str) -> None:
    """The error does not show the token either."""
    with pytest.raises(ConfigError, match=r"^api_endpoint: the token would be sent unencrypted") as caught:
        _settings(api_token=_TOKEN, api_endpoint=endpoint)

    assert _TOKEN not in str(caught.value)


def test_public_data_may_be_read_unencrypted() -> None:
    assert _settings(api_endpoint="http://redivis.example/api/v1").api_token is None


@pytest.mark.parametrize(
    "endpoint",
    [
        "redivis.com/api/v1",
        "ftp://redivis.com",
        "https://",
        "https:///api/v1",
        "http://[::1",
        "https://redivis.com:port/",
        "http://127.0.0.1:0/",
    ],
)
def test_what_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"^api_endpoint: "):
        _settings(api_endpoint=endpoint)


@pytest.mark.parametrize("token", ["two words", "a-token\n", "ŧoken", "“a-token”", "\x00"])
def test_a_token_that_cannot_be_one_is_refused(token: str) -> None:
    """And is not shown: it may be half of one."""
    with pytest.raises(ConfigError, match=r"^api_token: ") as caught:
        _settings(api_token=token)

    assert token not in str(caught.value)


@pytest.mark.parametrize("source", ["datasets", "workflows"])
def test_any_source_will_do(source: str) -> None:
    _settings(**{source: ["demo.flights"]}).require_source()


def test_a_query_is_a_source_too() -> None:
    query = {
        "name": "days",
        "sql": "SELECT day FROM flights",
        "default_dataset": "demo.flights",
        "key_properties": ["day"],
    }

    settings = _settings(queries=[query])

    settings.require_source()
    assert settings.queries == (QueryOptions("days", "SELECT day FROM flights", "demo.flights", None, ("day",)),)


@pytest.mark.parametrize(
    "more",
    [
        {"default_dataset": "demo.flights", "default_workflow": "demo.analysis"},
        {"default_dataset": "flights"},
        {"default_workflow": "demo"},
    ],
)
def test_a_query_has_one_default_that_can_be_read(more: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^queries, days"):
        _settings(queries=[{"name": "days", "sql": "SELECT 1 AS one", **more}])


def test_a_config_without_a_source_says_what_to_name() -> None:
    with pytest.raises(ConfigError, match=r"^config: there is nothing to read: .* Name a dataset"):
        _settings().require_source()


def test_options_apply_to_the_tables_that_their_pattern_names() -> None:
    settings = _settings(table_options={"fl*": {"key_properties": ["id"], "variables": ["id", "dest"], "max_rows": 5}})

    assert settings.options_for("Flights") == TableOptions(("id",), ("id", "dest"), 5)
    assert settings.options_for("planes") == TableOptions()


def test_later_options_win_where_they_say_something() -> None:
    settings = _settings(
        table_options={
            "*": {"key_properties": ["id"], "max_rows": 5},
            "flights": {"key_properties": ["flight"], "variables": ["flight"]},
        }
    )

    assert settings.options_for("flights") == TableOptions(("flight",), ("flight",), 5)


def test_a_tables_own_limit_counts_more_than_the_general_one() -> None:
    settings = _settings(max_rows=10, table_options={"flights": {"max_rows": 100}})

    assert (settings.options_for("flights").max_rows, settings.options_for("planes").max_rows) == (100, 10)
