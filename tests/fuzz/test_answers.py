"""Whatever the server answers about its data, the tap runs or says in clear words what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bodies import EDITS, FUZZ, ROWS, Edit
from tests.fuzz.whole import Change, Site, changes, check, finished, served
from tests.support.pipes import run


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of which all answers are known that discovery and a load ask for."""
    with served(tmp_path_factory.mktemp("answers")) as site:
        run(site.tap())
        run(site.tap("--discover"))
        yield site


def _as_edit(all_of_them: list[Change]) -> Edit:
    def edit(data: bytes) -> bytes:
        try:
            whole: Any = json.loads(data)
        except ValueError:
            return data  # nothing to change as JSON
        for change in all_of_them:
            whole = change(whole)
        return json.dumps(whole).encode()

    return edit


_JSON_EDITS = st.lists(changes(), min_size=1, max_size=2).map(_as_edit)


@FUZZ
@given(st.integers(0, 1000), EDITS | _JSON_EDITS | _JSON_EDITS, st.sampled_from([(), ("--discover",)]))
def test_any_answer(site: Site, place: int, edit: Edit, arguments: tuple[str, ...]) -> None:
    """Discovery and load; and where a load is complete, all rows came, or none if the table seems to be gone."""
    answers = sorted(key for key in site.asked if "/readStreams/" not in key[1])
    site.edits = {answers[place % len(answers)]: edit}

    done = finished(site.tap(*arguments))

    check(done)
    if not arguments:
        # What is wrong with rows that came without a session is read anew, under a higher version.
        versions = [message["version"] for message in done.messages if message["type"] == "RECORD"]
        assert versions.count(max(versions, default=0)) in {0, ROWS} or done.exit_code == 1
