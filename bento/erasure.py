"""Erasure from the durable logs of impressions and events."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from zhiyin.erasure.erasable import Found
from zhiyin.erasure.rewrite import blank_lines
from zhiyin.erasure.trace import Trace
from zhiyin.settings import Settings


@dataclass(frozen=True)
class DurableLogs:
    """Files of JSON lines; the service may be appending to one of them."""

    settings: Settings

    @property
    def places(self) -> tuple[Path, ...]:
        return (self.settings.feedback,)

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        for path in files:
            blank_lines(trace, path)
