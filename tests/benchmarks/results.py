"""Results as a run would have them."""

from __future__ import annotations

from benchmarks.measuring import Measured, Result
from benchmarks.scenes import scenes


def result(name: str, *seconds: float, peak_mib: float = 50, rows: int = 1000) -> Result:
    """Make the result of a case whose runs took so long, the first row a tenth of it."""
    first = tuple(each / 10 for each in seconds)
    return Result(
        name, rows, seconds, first, seconds, only_rows=False, body_bytes=100, written=1, requests=1, peak_mib=peak_mib
    )


def all_scenes() -> list[Measured]:
    """Make results of all scenes in which each run took a second."""
    return [
        Measured(scene.name, scene.words, scene.baseline, tuple(result(case.name, 1, 1) for case in scene.cases))
        for scene in scenes(1)
    ]


def changed(measured: list[Measured], scene: str, new: Result) -> list[Measured]:
    """Put another result in the place of the one of the same name."""
    return [
        each
        if each.name != scene
        else Measured(
            each.name, each.words, each.baseline, tuple(new if old.name == new.name else old for old in each.results)
        )
        for each in measured
    ]
