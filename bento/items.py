"""The published item state being served: its pointer is polled with the champion's and followed when it moves."""

import logging
import time

from zhiyin.recommender.state.item_state import PublishedItems, current_version, read_items
from zhiyin.settings import Settings

logger = logging.getLogger("bentoml.zhiyin")

RETRY_SECONDS = 30.0  # a refused version is read again this often, in case it was repaired


class ItemsWatch:
    """A version that cannot be read or does not match its manifest is refused with a log line; the one before stays."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refused: tuple[str, float] | None = None
        self._current: PublishedItems | None = None

    def look(self) -> PublishedItems | None:
        """The item state to serve; None until one is published: then that of the bundle is served."""
        version = "the pointer"
        try:
            named = current_version(self._settings)
            if named is None or (self._current and named == self._current.version):
                return self._current
            version = named
            if not self._is_refused(version):
                self._current = read_items(self._settings, version)
                logger.info("items: state %s", version)
        except Exception as error:
            self._refuse(version, error)
        return self._current

    def _refuse(self, version: str, error: Exception) -> None:
        """Do not use a version until it is read again, after ``RETRY_SECONDS``."""
        if not self._refused or self._refused[0] != version:  # logged once, not at every look
            logger.error(
                "items: %s refused (%s); the item state before stays. Run the step publish_items.", version, error
            )
        self._refused = (version, time.monotonic() + RETRY_SECONDS)

    def _is_refused(self, version: str) -> bool:
        return self._refused is not None and self._refused[0] == version and time.monotonic() < self._refused[1]
