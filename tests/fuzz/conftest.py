"""How much chance there is, and that nothing waits or hangs.

More than the suite has time for: `TAP_REDIVIS_FUZZ_EXAMPLES=10000 pytest tests/fuzz`, other examples in each run.
"""

from __future__ import annotations

from collections.abc import Iterator

import backoff
import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_waits() -> Iterator[None]:
    """Try again at once: what a wait changes is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backoff, "full_jitter", lambda _value: 0.0)
        yield
