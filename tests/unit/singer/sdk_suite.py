"""The tests that singer-sdk has for every tap, on the Redivis that the environment names; started by `test_sdk`.

In a process of its own, since the SDK asks the server when this module is imported, and takes over stdout and logging.
"""

from __future__ import annotations

from singer_sdk.testing import get_tap_test_class

from tap_redivis.tap import TapRedivis

TestTapRedivis = get_tap_test_class(
    TapRedivis,
    config={"datasets": ["demo.visits"], "table_options": {"all_types": {"key_properties": ["row"]}}},
)
