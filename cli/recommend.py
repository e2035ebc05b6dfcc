"""One user's list from the champion, without the service: same bundle, same item state, same online row, same list."""

from pathlib import Path

from zhiyin import registry
from zhiyin.pseudonym import load_key, pseudonymise
from zhiyin.recommender.lists import Slate
from zhiyin.recommender.recommender import Recommender
from zhiyin.recommender.slate.rules import read_rules
from zhiyin.recommender.state.item_state import current_version, read_items, with_published_items
from zhiyin.settings import Settings


def recommend_for(settings: Settings, user: str, k: int) -> Slate:
    """The champion's list, with reasons, for a user by the caller's own id.

    Raises:
        FileNotFoundError: there is no champion yet.
    """
    from feature_repo import OnlineStates

    champion = registry.champion(settings)
    if champion is None:
        raise FileNotFoundError("there is no champion yet: run the pipeline first, with `zhiyin run --as-of DATE`")
    pseudonym = pseudonymise(load_key(settings), user)
    state = OnlineStates(settings).user(pseudonym) or {"user_id": pseudonym}
    rules = read_rules(settings.rules) if settings.rules else None
    recommender = Recommender.load(Path(champion["bundle"]), rules)
    if version := current_version(settings):
        recommender = with_published_items(recommender, read_items(settings, version))
    (slate,) = recommender.recommend([state], k=k, explain="text")
    return slate
