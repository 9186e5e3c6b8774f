"""The matrix: every fault of the menu, in each wire format, with one read stream and with four."""

from __future__ import annotations

from pathlib import Path

import pytest

from tap_redivis.model.columns import WireFormat
from tests.faults.menu import MENU, Item
from tests.faults.tap import FORMATS, STREAMS, survive
from tests.support.batches import ENCODINGS
from tests.support.samples import sampled

_OF_EACH_KIND = {
    item.name: item
    for items in MENU.values()
    for ends in ("transient", "permanent")
    for item in [each for each in items if each.ends == ends][-1:]
}
_ITEMS = sampled([item for items in MENU.values() for item in items], _OF_EACH_KIND.values(), lambda item: item.name)


@pytest.mark.parametrize("streams", sampled(STREAMS, [4]))
@pytest.mark.parametrize("wire_format", FORMATS)
@pytest.mark.parametrize("item", _ITEMS)
def test_no_fault_loses_doubles_or_changes_a_row(
    item: Item, wire_format: WireFormat, streams: int, tmp_path: Path
) -> None:
    """What passes ends in exact rows and exit 0, what stays in one clear line and exit 1."""
    survive(item, wire_format, streams, tmp_path)


@pytest.mark.parametrize("item", _OF_EACH_KIND.values(), ids=_OF_EACH_KIND)
@pytest.mark.parametrize(
    "encoding", [pytest.param(each, marks=[pytest.mark.long] * (each != "arrow")) for each in ENCODINGS]
)
def test_it_is_the_same_where_rows_go_to_files(item: Item, encoding: str, tmp_path: Path) -> None:
    """Of each kind a fault that passes and one that stays, where there are both, in each encoding."""
    survive(item, "jsonl", 4, tmp_path, encoding=encoding)
