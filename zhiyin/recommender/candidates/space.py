"""Search spaces: the bounds within which a model's settings are tuned."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones if both are. ``log``: of even odds by ratio."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[str | bool | int | float, ...]


Space = Mapping[str, Range | Choice]
