"""The places of a home from which a person is erased: one erasable of each room, in the order in which they erase."""

from zhiyin.erasure.erasure import Erasure
from zhiyin.settings import Settings


def erasure_of(settings: Settings, user_id: str) -> Erasure:
    """The erasure of a person, by the id in the source.

    The lake comes first, so that an interrupted erasure is completed by the next call and no landing brings the person
    back; then what follows from the lake. ``OtherFiles`` comes last: it takes every file that no other one lists.
    """
    from bento.erasure import DurableLogs
    from feature_repo.erasure import OnlineRows, States
    from training.erasure import Learned
    from zhiyin.erasure.erasable import Erasable, Immutable, OtherFiles
    from zhiyin.erasure.person import Person
    from zhiyin.landing import known_datasets
    from zhiyin.landing.erasure import Lake
    from zhiyin.warehouse.erasure import DevWarehouses, PublishedMarts, Warehouse

    erasables: list[Erasable] = [
        Lake(settings),
        Warehouse(settings),
        DevWarehouses(settings),
        Learned(settings),
        PublishedMarts(settings),
        States(settings),
        OnlineRows(settings),
        DurableLogs(settings),
        Immutable((settings.bundles, settings.bentoml, settings.item_state)),
        OtherFiles((settings.home,)),
    ]
    others = [settings.home / name for name in known_datasets() if name != settings.dataset]
    return Erasure(settings, Person.of(settings, user_id), erasables, others)
