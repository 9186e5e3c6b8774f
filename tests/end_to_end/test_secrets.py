"""The token goes to its server only, and is shown to nobody (promise 8).

Every test of this folder checks besides that the token is in no output of the tap: `tests.support.pipes` does it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from redivis_emulator import DEFAULT_TOKEN, Emulator, Fault, Settings
from tests.end_to_end.conftest import UNLIMITED, VISITS
from tests.support.file_tables import SOME, write_files
from tests.support.pipes import Program, run
from tests.support.served import Site, assert_same_rows, records_of

_SECRET = "31415926535"  # noqa: S105 - known to nobody


@pytest.mark.parametrize("path", ["/datasets/*", "*/readSessions", "/readStreams/*"])
@pytest.mark.parametrize("status", [400, 403, 503])
def test_a_server_that_repeats_the_token_is_not_quoted(site: Site, path: str, status: int) -> None:
    """An error text that holds the token is shown without it, whatever failed."""
    message = f"Bearer {site.token} is not welcome"
    site.emulator.faults.add(Fault(kind="status", path=path, status=status, message=message, nth="every"))

    done = run(_verbose(site.tap(max_retry_seconds=0.1)))

    assert done.exit_code == 1
    assert "is not welcome" in done.stderr
    assert "***" in done.stderr


def test_a_warning_that_repeats_the_token_is_not_quoted(site: Site) -> None:
    """The header with which Redivis warns is shown without the token."""
    site.emulator.faults.add(Fault(kind="headers", headers={"X-REDIVIS-WARNING": f"{site.token} expires soon"}))

    done = run(_verbose(site.tap()))

    assert "*** expires soon" in done.stderr


def test_a_token_in_the_config_is_as_secret_as_one_in_the_environment(site: Site) -> None:
    """Whichever way the tap got it, also with debug messages on."""
    program = site.tap(api_token=site.token)
    variables = {**program.variables, "REDIVIS_API_TOKEN": ""}

    done = run(_verbose(replace(program, variables=variables)))

    assert done.exit_code == 0


@pytest.mark.parametrize("token", [int(_SECRET), [f"token-{_SECRET}"], {"token": _SECRET}])
def test_a_token_of_a_wrong_type_is_not_shown(site: Site, token: Any) -> None:
    """A config with a number, a list or an object for a token is one clear error without it."""
    program = replace(site.tap(api_token=token), secret=_SECRET)

    done = run(_verbose(program))

    assert done.exit_code == 1
    assert "api_token" in done.stderr


def test_a_token_with_characters_that_no_token_has_is_not_shown(site: Site) -> None:
    """A token that was copied with a line end is refused before it is sent, and not shown."""
    program = replace(site.tap(api_token=f"{_SECRET}\n"), secret=_SECRET)

    done = run(program)

    assert done.exit_code == 1
    assert "api_token" in done.stderr
    assert not site.emulator.requests


@pytest.mark.parametrize("path", ["/datasets/*", "*/readSessions", "/readStreams/*"])
def test_a_redirect_to_another_server_does_not_get_the_token(site: Site, path: str) -> None:
    """The same host at another port is another server: the request arrives there without the token."""
    with Emulator(site.folder, rate_limit=UNLIMITED) as other:
        elsewhere = {"Location": f"{other.endpoint}/datasets/demo.visits"}
        site.emulator.faults.add(Fault(kind="status", path=path, status=302, headers=elsewhere, nth="every"))
        run(site.tap(max_retry_seconds=0.1))

    assert other.requests
    assert not [request for request in other.requests if "authorization" in request.headers]
    assert str(site.token) not in str(other.requests)


def test_a_redirect_on_one_server_keeps_the_token(site: Site) -> None:
    """Redivis may move a path: nothing is lost by following it at the same place."""
    here = {"Location": f"{site.endpoint}/datasets/demo.visits"}
    site.emulator.faults.add(Fault(kind="status", path="/datasets/*", status=302, headers=here))

    assert_same_rows(site.sync().records("visits__visits"), records_of(VISITS))


@pytest.mark.parametrize("endpoint", ["http://redivis.example/api/v1", "http://127.0.0.1.example:80/api/v1"])
def test_a_token_goes_over_plain_http_to_this_machine_only(site: Site, endpoint: str) -> None:
    """An endpoint elsewhere without encryption is refused before anything is sent."""
    done = run(site.tap(api_endpoint=endpoint))

    assert done.exit_code == 1
    assert "unencrypted" in done.stderr
    assert "WARNING" not in done.stderr  # no try was made


def test_a_token_in_a_netrc_file_is_not_taken(site: Site) -> None:
    """Nobody's password for this host goes out in the place of our token."""
    netrc = site.files / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else")
    program = site.tap()

    run(replace(program, variables={**program.variables, "NETRC": str(netrc)}))
    run(replace(program, variables={**program.variables, "NETRC": str(netrc), "REDIVIS_API_TOKEN": ""}))

    sent = {request.headers.get("authorization") for request in site.emulator.requests}
    assert sent == {f"Bearer {site.token}", None}


def test_a_signed_address_is_not_shown_whole(tmp_path: Path) -> None:
    """It opens a file for whoever has it."""
    write_files(tmp_path / "served", SOME)
    with Emulator(tmp_path / "served", settings=Settings(file_address="signed")) as emulator:
        site = Site(emulator, tmp_path / "served", tmp_path, DEFAULT_TOKEN)

        done = run(_verbose(site.tap(datasets=["demo.scans"], files={"root": str(tmp_path / "root")})))

    assert done.exit_code == 0
    assert "&Signature=*** " in done.stderr
    assert not re.search("Signature=[^*]", done.stderr + done.stdout.decode())


def _verbose(program: Program) -> Program:
    """Let the tap say all that it can say."""
    return replace(program, variables={**program.variables, "TAP_REDIVIS_LOG_LEVEL": "debug"})
