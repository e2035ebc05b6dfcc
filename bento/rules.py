"""The slate rules being served: their file is polled with the champion's pointer and reloaded when it changes."""

import logging
from pathlib import Path

from zhiyin.recommender.slate.rules import SlateRules, read_rules

logger = logging.getLogger("bentoml.zhiyin")


class RulesWatch:
    """A file that cannot be read or is not valid is refused with a log line, and the rules before stay."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | str | None = "never"
        self._current: SlateRules | None = None

    @property
    def named(self) -> bool:
        """Whether there is a file; without one the rules of the bundle's recipe hold."""
        return self._path is not None

    def look(self) -> SlateRules | None:
        """The rules in force; None until there are valid ones."""
        stamp = _stamp(self._path)
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._current = read_rules(self._path)
            except ValueError as error:
                stay = "the rules before stay" if self._current else "nothing is served until this is repaired"
                logger.error("rules: %s; %s", error, stay)
            else:
                logger.info(
                    "rules: %s in force, from %s",
                    self._current.digest[:12],
                    self._path or "the defaults; the recipe's hold",
                )
        return self._current

    def tell(self, unknown: dict[str, list[str]]) -> None:
        """Warn of names in rules that the champion's catalogue lacks (a typing error, or an old item)."""
        for rule, names in unknown.items():
            logger.warning("rules: %s names %d that no item has, first %r", rule, len(names), names[0])


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    try:
        facts = path.stat() if path else None
    except OSError:
        return None
    return facts and (facts.st_ino, facts.st_mtime_ns, facts.st_size)
