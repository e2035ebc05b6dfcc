"""The erasure of one person: the keepers of all rooms, in the order in which they erase."""

from zhiyin.erasure.erasure import Erasure
from zhiyin.settings import Settings


def erasure_of(settings: Settings, user_id: str) -> Erasure:
    """The erasure of a person, by the id that the source gives them.

    The lake comes first, then what follows from it. A file that is no other keeper's is a loose one.
    """
    from bento.erasure import DurableLogs
    from feature_repo.erasure import OnlineRows, States
    from training.erasure import Learned
    from zhiyin.erasure.keeper import Keeper, LooseFiles, Unchanging
    from zhiyin.erasure.person import Person
    from zhiyin.landing import known_datasets
    from zhiyin.landing.erasure import Lake
    from zhiyin.warehouse.erasure import PublishedMarts, Warehouse

    keepers: list[Keeper] = [
        Lake(settings),
        Warehouse(settings),
        Learned(settings),
        PublishedMarts(settings),
        States(settings),
        OnlineRows(settings),
        DurableLogs(settings),
        Unchanging((settings.bundles, settings.bentoml)),
        LooseFiles((settings.home,)),
    ]
    others = [settings.home / name for name in known_datasets() if name != settings.dataset]
    return Erasure(settings, Person.of(settings, user_id), keepers, others)
