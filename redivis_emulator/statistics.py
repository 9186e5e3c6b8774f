"""Statistics of a variable (redivis-api §4.4), computed for each request before it is answered."""

from __future__ import annotations

import asyncio
import math
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from redivis_emulator import metadata

if TYPE_CHECKING:
    from redivis_emulator.library import Variable
    from redivis_emulator.lookups import Readable
    from redivis_emulator.resources import Json

_NUMBERS = {"integer", "float"}
_ORDERED = _NUMBERS | {"date", "dateTime", "time"}
_NUMBER = r"([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)"
# Longitude and latitude of each point of a WKT text; an elevation may follow.
_POINT = re.compile(rf"[(,]\s*{_NUMBER}\s+{_NUMBER}")


async def answer(readable: Readable, name: str) -> Json:
    """Answer with the statistics of a variable."""
    _, variable = metadata.find_variable(readable, name)
    return await asyncio.to_thread(_statistics, readable, variable)


def _statistics(readable: Readable, variable: Variable) -> Json:
    """Return all statistics; those that the type does not have are null. NaN and infinities do not count as numbers."""
    from redivis_emulator import sql  # noqa: PLC0415 - as in queries

    values = sql.column(readable, variable).drop_null()
    finite = values.filter(pc.is_finite(values)) if variable.type in _NUMBERS else values
    numbers = finite.cast(pa.float64(), safe=False) if variable.type in _NUMBERS else pa.array([], pa.float64())
    extent = pc.min_max(finite) if variable.type in _ORDERED else {}
    return {
        "status": "completed",
        "count": len(values),
        "numDistinct": pc.count_distinct(values).as_py(),
        "min": _plain(extent.get("min")),
        "max": _plain(extent.get("max")),
        "mean": _plain(pc.mean(numbers)),
        "approxMedian": _plain(pc.approximate_median(numbers)),
        "stdDev": _plain(pc.stddev(numbers, ddof=1)),
        "geoBBox": _box(values.to_pylist()) if variable.type == "geography" else None,
    }


def _plain(scalar: pa.Scalar | None) -> Any:  # noqa: ANN401 - JSON
    """Return a value for JSON: times as text, and null for a float that is not finite."""
    value = None if scalar is None else scalar.as_py()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else str(value)


def _box(texts: list[str]) -> dict[str, float] | None:
    points = [(float(lon), float(lat)) for text in texts for lon, lat in _POINT.findall(text)]
    if not points:
        return None
    longitudes, latitudes = zip(*points, strict=True)
    return {
        "westLongitude": min(longitudes),
        "eastLongitude": max(longitudes),
        "northLatitude": max(latitudes),
        "southLatitude": min(latitudes),
    }
