"""Who may see what (redivis-api §1.3, §1.8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from redivis_emulator import RateLimit, Settings, Token
from tests.emulator.conftest import Client, write

TOKENS = {
    "reader": Token("reader", ("public", "data.data"), {"*": "data"}),
    "other": Token("other", ("public", "data.data"), {"*": "data"}),
    "looker": Token("looker", ("public", "data.data"), {"*": "metadata"}),
    "glancer": Token("glancer", ("public", "data.data"), {"*": "overview"}),
    "nobody": Token("nobody", ("public", "data.data"), {"*": "none"}),
    "unscoped": Token("unscoped", ("public", "data.metadata"), {"*": "data"}),
    "public": Token("public", ("public",), {"*": "data"}),
}
TABLE = "/tables/acme.numbers.numbers"


@pytest.fixture(name="site")
def make_site(folder: Path, serve: Callable[..., Client]) -> Client:
    """Return a client of a private and a public dataset, with a draft of the private one."""
    write(folder, "acme/numbers/v1.0/numbers.csv", "id,name\n1,x\n")
    write(folder, "acme/numbers/next/numbers.csv", "id,name\n2,y\n")
    write(folder, "acme/open/t.csv", "a\n1\n")
    write(folder, "acme/open/dataset.yml", "public_access_level: data")
    return serve(tokens=TOKENS, settings=Settings(anonymous_row_bytes=1000))


@pytest.mark.parametrize(
    ("token", "dataset", "table", "rows"),
    [
        ("emulator-token", 200, 200, 200),
        ("reader", 200, 200, 200),
        ("looker", 200, 200, 403),
        ("glancer", 200, 403, 403),
        ("nobody", 404, 404, 404),
        ("unscoped", 200, 200, 403),
        ("public", 403, 403, 403),
        ("wrong", 401, 401, 401),
        (None, 401, 401, 401),
    ],
)
def test_levels(site: Client, token: str | None, dataset: int, table: int, rows: int) -> None:
    """Each level shows more; what is invisible is not there, and nobody's token is told to come with one."""
    client = site.holding(token)
    paths = ("/datasets/acme.numbers", TABLE, f"{TABLE}/rows")
    assert [client.get(path).status_code for path in paths] == [dataset, table, rows]
    assert client.send("POST", f"{TABLE}/readSessions").status_code == rows
    assert client.get(f"{TABLE}/variables/id/statistics").status_code == table


def test_a_missing_scope_is_named(site: Client) -> None:
    """redivis-api §1.8: clients ask for the scope that the error names."""
    error = site.holding("unscoped").get(f"{TABLE}/rows").json()
    assert (error["error"], error["scope"], error["amr_values"]) == ("insufficient_scope", "data.data", None)


def test_a_low_level_is_no_missing_scope(site: Client) -> None:
    assert site.holding("looker").get(f"{TABLE}/rows").json()["error"] == "forbidden"


@pytest.mark.parametrize("token", ["reader", None, "nobody", "public"])
def test_public_data_is_for_everybody(site: Client, token: str | None) -> None:
    """Also without a token: metadata, and rows of small tables (redivis-api §1.3)."""
    client = site.holding(token)
    assert client.json("/datasets/acme.open")["publicAccessLevel"] == "data"
    assert client.get("/tables/acme.open.t/rows").text == '{"a":1}\n'


def test_without_a_token_only_small_tables_by_rows(folder: Path, site: Client) -> None:
    """Large ones and read sessions need a token (redivis-api §1.3)."""
    write(folder, "acme/open/large.csv", "a\n" + "1\n" * 1000)
    site.emulator.reload()
    client = site.holding(None)
    assert client.get("/tables/acme.open.large/rows").status_code == 401
    assert client.send("POST", "/tables/acme.open.t/readSessions").status_code == 401


@pytest.mark.parametrize(("token", "status"), [("emulator-token", 200), ("reader", 404), ("looker", 404)])
def test_drafts_are_for_editors(site: Client, token: str, status: int) -> None:
    """Others do not know of them (redivis-api §1.3)."""
    client = site.holding(token)
    assert client.get("/datasets/acme.numbers:next").status_code == status
    assert client.get("/tables/acme.numbers:next.numbers").status_code == status
    tags = [version["tag"] for version in client.json("/datasets/acme.numbers/versions")["results"]]
    assert ("next" in tags) == (status == 200)


def test_lists_hide_what_is_invisible(site: Client) -> None:
    names = {
        token: {d["name"] for d in site.holding(token).json("/organizations/acme/datasets")["results"]}
        for token in ("reader", "nobody", None)
    }
    assert names == {"reader": {"numbers", "open"}, "nobody": {"open"}, None: {"open"}}


def test_a_stream_is_for_the_user_who_opened_it(site: Client) -> None:
    """Unless the session was opened for anybody (redivis-api §8.1.1)."""
    reader = site.holding("reader")
    private, shared = (
        reader.session("acme.numbers.numbers", allowAnonymousAccess=flag, format="jsonl") for flag in (False, True)
    )
    callers = ("reader", "other", None, "wrong")
    assert [site.holding(t).stream(private).status_code for t in callers] == [200, 404, 401, 401]
    assert [site.holding(t).stream(shared).status_code for t in callers] == [200, 200, 200, 401]


def test_tokens_of_the_yaml(folder: Path, serve: Callable[..., Client]) -> None:
    """They are known beside the emulator's own token."""
    write(folder, "emulator.yml", "tokens: {secret: {user: jo, access: {'acme.*': metadata}}}")
    client = serve().holding("secret")
    assert client.json("/users/me")["name"] == "jo"
    assert client.json("/datasets/acme.numbers")["accessLevel"] == "metadata"
    assert client.get(f"{TABLE}/rows").status_code == 403


def test_the_rate_limit_is_enforced(serve: Callable[..., Client]) -> None:
    """The third request of two is refused until the window is over; another token has a window of its own (§1.7)."""
    client = serve(rate_limit=RateLimit(requests=2, seconds=30), tokens=TOKENS)
    answers = [client.get("/users/me") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-Ratelimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert 10 <= int(answers[2].headers["Retry-After"]) <= 31  # less where the machine is slow
    assert client.holding("reader").get("/users/me").status_code == 200
    client.emulator.pass_time(31)
    assert client.get("/users/me").status_code == 200
