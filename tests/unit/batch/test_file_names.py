"""Names of files below their root: whatever a file is called, its name is safe, and no other file has it."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tap_redivis.batch.file_names import name_below_root

_PLACES = {"owner": "demo", "dataset": "Scans: 20%", "table": "scans", "version": "v1.0"}
_DEFAULT = "{table}/{file_id}/{file_name}"
_TEMPLATES = (
    _DEFAULT,
    "{file_name}",
    "{file_id}",
    "{file_id}.pdf",
    "{owner}/{dataset}/{version}/{table}/{file_name}",
    "{file_id}{file_name}",
    "{file_name}/{file_id}",
    "{file_name}-{file_id}",
    "{{file_id}}",
    "{file_id:.1}",
    "all",
)
_DEVICES = ("con", "PRN", "aux.txt", "nul", "com1", "LPT9.tar.gz", "COM¹", "conin$", "con .txt", ".partial", ".PARTIAL")
_HOSTILE = st.sampled_from(
    (
        *("..", ".", "...", "../../etc/passwd", "/etc/passwd", "C:\\x", "a/", "//", ""),
        *(" ", "x.", "x ", chr(0xD800), "\0", "ä" * 300, *_DEVICES),
    )
)
_NAMES = st.one_of(_HOSTILE, st.text(), st.lists(st.one_of(_HOSTILE, st.text()), max_size=4).map("/".join))
_LONG = st.builds(lambda text, times: text * times, st.text(min_size=1), st.integers(1, 400))
_IDS = st.one_of(st.text(min_size=1), st.sampled_from(("a", "b", "ab", "a/b", "a_b", "x-a", "..", *_DEVICES)), _LONG)
_RESERVED = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[0-9¹²³]|conin\$|conout\$) *(?:\.|$)", re.IGNORECASE)


def _name(file_name: str = "one.txt", file_id: str = "ab12.x", template: str = _DEFAULT) -> str:
    return name_below_root(template, _PLACES, file_id, file_name)


@given(_NAMES | _LONG, _IDS, st.sampled_from(_TEMPLATES))
def test_a_name_stays_below_the_root_and_every_system_takes_it(file_name: str, file_id: str, template: str) -> None:
    name = _name(file_name, file_id, template)

    assert len(name.encode()) <= 900
    for part in name.split("/"):
        assert part not in {"", ".", ".."}
        assert len(part.encode()) <= 255
        assert not _RESERVED.match(part)
        assert part.lower() != ".partial"
        assert part == part.rstrip(". ")
        assert not re.search(r'[\x00-\x1f\x7f-\x9f<>:"\\|?*]', part)


@given(_NAMES, _NAMES, _IDS, _IDS, st.sampled_from(_TEMPLATES))
@example("bc", "c", "a", "ab", "{file_id}{file_name}")
@example("x-a", "x", "b", "a-b", "{file_name}-{file_id}")
@example("x", "x", "a/b", "a_b", _DEFAULT)
@example("one.txt", "one.txt", "a", "b", "{file_name}")
@example("x", "x", "a", "b", "{{file_id}}")
@example("x", "x", "a1", "a2", "{file_id:.1}")
def test_files_with_other_ids_have_other_names(one: str, two: str, one_id: str, two_id: str, template: str) -> None:
    assume(one_id != two_id)

    assert _name(one, one_id, template) != _name(two, two_id, template)


@pytest.mark.parametrize("template", _TEMPLATES)
def test_very_long_names_of_other_ids_differ_too(template: str) -> None:
    """Though what tells them apart is cut off."""
    names = {_name("folder/" * 200 + "ä" * 400, file_id, template) for file_id in ("i" * 300 + "a", "i" * 300 + "b")}

    assert len(names) == 2


@given(_NAMES, _IDS, st.sampled_from(_TEMPLATES))
def test_a_file_has_the_same_name_each_time(file_name: str, file_id: str, template: str) -> None:
    assert _name(file_name, file_id, template) == _name(file_name, file_id, template)


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("one.txt", "one.txt"),
        ("deep/er/one.txt", "deep/er/one.txt"),
        ("Zürich 1%.tar.gz", "Zürich 1%.tar.gz"),
        ("../one.txt", "_/one.txt"),
        ("/etc//passwd", "etc/passwd"),
        ("nul.txt", "_nul.txt"),
        ("a:b\\c\n.", "a_b_c_"),
        ("", "ab12.x"),
    ],
)
def test_names_that_are_safe_are_kept_with_their_folders(file_name: str, expected: str) -> None:
    assert _name(file_name) == f"scans/ab12.x/{expected}"


def test_places_are_filled_in_and_are_one_folder_each() -> None:
    template = "{owner}/{dataset}/{version}/{table}/{file_id}.pdf"

    assert _name(template=template) == "demo/Scans_ 20%/v1.0/scans/ab12.x.pdf"


@pytest.mark.parametrize(
    ("template", "form"), [("{file_name}", r"one-[0-9a-f]{12}\.txt"), ("all", r"all-[0-9a-f]{12}")]
)
def test_without_its_id_a_name_has_a_digest_of_it_before_the_suffix(template: str, form: str) -> None:
    assert re.fullmatch(form, _name(template=template))


def test_what_is_cut_keeps_its_suffix() -> None:
    assert re.fullmatch(
        r"scans/ab12\.x/x+-[0-9a-f]{12}\.nii\.gz|scans/ab12\.x/x+-[0-9a-f]{12}\.gz", _name("x" * 400 + ".gz")
    )
