"""Erasure from what training keeps between steps and runs: encoders, generators of label windows, the ranker's rows."""

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from zhiyin.erasure.erasable import Found
from zhiyin.erasure.trace import Trace
from zhiyin.settings import Settings


@dataclass(frozen=True)
class Learned:
    """Artefacts fitted on the log. They name no person, but the next run must not start from them: they are removed."""

    settings: Settings

    @property
    def places(self) -> tuple[Path, ...]:
        settings = self.settings
        return settings.encoders, settings.text_towers, settings.window_generators, settings.ranking_rows

    def find(self, trace: Trace) -> Found:
        return {}

    def erase(self, trace: Trace, files: Collection[Path]) -> None:
        for place in self.places:
            shutil.rmtree(place, ignore_errors=True)
