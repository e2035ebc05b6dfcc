"""The champion being served, with the published item state.

Both pointers are polled. A new bundle loads beside the old one; what is served is swapped by one reference.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bento.items import ItemsWatch
from bento.rules import RulesWatch
from bento.user_states import trained_with
from zhiyin import registry
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.slate.rules import SlateRules
from zhiyin.recommender.state.item_state import PublishedItems, with_published_items
from zhiyin.settings import Settings

logger = logging.getLogger("bentoml.zhiyin")

RETRY_SECONDS = 30.0  # a refused bundle is tried again this often, should someone have repaired it
WARM_UP = "warm-up"  # a user id that no pseudonym can be


@dataclass(frozen=True)
class Champion:
    """One loaded bundle. A request takes it once and keeps it to its end.

    ``bundled``: with the bundle's own item state; ``recommender``: with the published one, unless that is older;
    ``items``: the published item state that was considered; ``user_state``: the feature service that its
    models were trained with.
    """

    digest: str
    bundled: Recommender
    recommender: Recommender
    items: PublishedItems | None
    user_state: str


class ChampionWatch:
    """Keeps ``current`` the bundle that the registry points at.

    A bundle that does not verify, load or answer is refused with a log line, and the one before stays. So are
    slate rules; until there are valid ones nothing is served, since they may keep items out of every list. So is a
    published item state.
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
        self._items = ItemsWatch(settings)
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
        """Read the rules, the item state and the champion's pointer once and follow them."""
        rules = self._rules.look()
        if rules is None:
            return
        items = self._items.look()
        if self.current and self._rules.named and self.current.bundled.rules.rules is not rules:
            bundled, recommender = self.current.bundled.under(rules), self.current.recommender.under(rules)
            self.current = replace(self.current, bundled=bundled, recommender=recommender)
            self._rules.tell(recommender.rules.unknown)
        self._follow(items)
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
        self._load(digest, bundle, rules if self._rules.named else None, items)

    def _follow(self, items: PublishedItems | None) -> None:
        """Serve the current bundle with another item state."""
        if self.current is None or items is None or items is self.current.items:
            return
        recommender = _with_items(self.current.bundled, items) or self.current.recommender
        self.current = replace(self.current, recommender=recommender, items=items)

    def _load(self, digest: str, bundle: Path, rules: SlateRules | None, items: PublishedItems | None) -> None:
        serving = self.current.digest[:12] if self.current else "nothing"
        try:
            bundled = Recommender.load(bundle, rules)  # checks every file against the manifest
            if bundled.version != digest:
                raise ValueError(f"{bundle} holds {bundled.version}, not {digest}")
            recommender = _with_items(bundled, items) or _ready(bundled)
        except Exception as error:
            logger.exception(
                "champion: bundle %s refused (%s); %s goes on serving. Promote a sound bundle, or roll back.",
                digest[:12], error, serving,
            )  # fmt: skip
            self._refused = (digest, time.monotonic() + RETRY_SECONDS)
            return
        user_state = trained_with(self._settings, recommender.manifest)
        self.current = Champion(digest, bundled, recommender, items, user_state)
        self._refused = None
        self._rules.tell(recommender.rules.unknown)
        logger.info("champion: serving %s (before: %s)", digest[:12], serving)


def _with_items(bundled: Recommender, items: PublishedItems | None) -> Recommender | None:
    """The bundle with the published item state; None, with a log line, where it makes no list with it."""
    try:
        return _ready(with_published_items(bundled, items))
    except Exception:
        if items is None:
            raise
        logger.exception("items: %s refused, the item state before stays", items.version)
        return None


def _ready(recommender: Recommender) -> Recommender:
    """The recommender after a first list, which pays for lazy work (thread pools, page faults): not the first user."""
    recommender.recommend([{"user_id": WARM_UP}], k=1, explain="text")
    return recommender
