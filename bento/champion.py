"""The champion being served: the pointer is polled, a new bundle loads beside the old one, one reference is swapped."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bento.rules import RulesWatch
from bento.user_states import trained_with
from zhiyin import registry
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.slate.rules import SlateRules
from zhiyin.settings import Settings

logger = logging.getLogger("bentoml.zhiyin")

RETRY_SECONDS = 30.0  # a refused bundle is tried again this often, should someone have repaired it
WARM_UP = "warm-up"  # a user id that no pseudonym can be


@dataclass(frozen=True)
class Champion:
    """One loaded bundle. A request takes it once and keeps it to its end."""

    digest: str
    recommender: Recommender
    user_state: str  # the feature service that its models were trained with


class ChampionWatch:
    """Keeps ``current`` the bundle that the registry points at.

    A bundle that does not verify, load or answer is refused with a log line, and the one before stays. So are
    slate rules; until there are valid ones nothing is served, since they may keep items out of every list.
    """

    def __init__(
        self, settings: Settings, read_state: Callable[[str], Any], packaged: dict[str, Any] | None = None
    ) -> None:
        """``read_state`` reads the online store: called once before the first champion serves, to open it.

        ``packaged``: a pointer to follow while the registry holds none.
        """
        self._settings = settings
        self._packaged = packaged
        self._read_state = read_state
        self._refused: tuple[str, float] | None = None
        self._unreadable: str | None = None
        self._rules = RulesWatch(settings.rules)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="champion", daemon=True)
        self.current: Champion | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._read_state(WARM_UP)
        except Exception as error:
            logger.warning("online store: %s; until it answers, lists are from popularity", error)
        while True:
            self.look()
            if self._stop.wait(self._settings.champion_poll_seconds):
                return

    def look(self) -> None:
        """Read the rules and the pointer once and follow them."""
        rules = self._rules.look()
        if rules is None:
            return
        if self.current and self.current.recommender.rules.rules is not rules:
            recommender = self.current.recommender.under(rules)
            self.current = replace(self.current, recommender=recommender)
            self._rules.tell(recommender.rules.unknown)
        try:
            pointer = registry.champion(self._settings) or self._packaged
            if pointer is None:
                return
            digest, bundle = str(pointer["digest"]), Path(pointer["bundle"])
        except Exception as error:
            if self._unreadable != str(error):  # once, not at every look
                logger.error("champion: the pointer in %s cannot be read: %r", self._settings.registry, error)
            self._unreadable = str(error)
            return
        self._unreadable = None
        if self.current and digest == self.current.digest:
            return
        if self._refused and self._refused[0] == digest and time.monotonic() < self._refused[1]:
            return
        self._load(digest, bundle, rules)

    def _load(self, digest: str, bundle: Path, rules: SlateRules) -> None:
        serving = self.current.digest[:12] if self.current else "nothing"
        try:
            recommender = Recommender.load(bundle, rules)  # checks every file against the manifest
            if recommender.version != digest:
                raise ValueError(f"{bundle} holds {recommender.version}, not {digest}")
            # The first list pays for lazy work (thread pools, page faults): not the first user.
            recommender.recommend([{"user_id": WARM_UP}], k=1, explain="text")
        except Exception as error:
            logger.exception(
                "champion: bundle %s refused (%s); %s goes on serving. Promote a sound bundle, or roll back.",
                digest[:12], error, serving,
            )  # fmt: skip
            self._refused = (digest, time.monotonic() + RETRY_SECONDS)
            return
        self.current = Champion(digest, recommender, trained_with(self._settings, recommender.manifest))
        self._refused = None
        self._rules.tell(recommender.rules.unknown)
        logger.info("champion: serving %s (before: %s)", digest[:12], serving)
