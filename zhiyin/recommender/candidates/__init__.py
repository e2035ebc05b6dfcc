"""Candidate generators: one interface (``base``), one file per generator, and the kinds that a bundle can hold."""

from zhiyin.recommender.candidates.base import CandidateGenerator, Context, Generator
from zhiyin.recommender.candidates.content import Content
from zhiyin.recommender.candidates.ials import Ials
from zhiyin.recommender.candidates.interest import Interest
from zhiyin.recommender.candidates.item_knn import ItemKnn
from zhiyin.recommender.candidates.item_to_item import ItemToItem
from zhiyin.recommender.candidates.kind_demand import KindDemand
from zhiyin.recommender.candidates.people_alike import PeopleAlike
from zhiyin.recommender.candidates.personal_frequency import PersonalFrequency
from zhiyin.recommender.candidates.popularity import Popularity
from zhiyin.recommender.candidates.promotions import Promotions
from zhiyin.recommender.candidates.session import Session
from zhiyin.recommender.candidates.text_neighbours import TextNeighbours

# Those that a bundle can hold, by kind.
KINDS: dict[str, type[CandidateGenerator]] = {
    kind.name: kind
    for kind in (
        PersonalFrequency,
        ItemToItem,
        ItemKnn,
        Ials,
        Interest,
        TextNeighbours,
        Content,
        Popularity,
        PeopleAlike,
        KindDemand,
        Promotions,
        Session,
    )
}

__all__ = [
    "KINDS",
    "CandidateGenerator",
    "Content",
    "Context",
    "Generator",
    "Ials",
    "Interest",
    "ItemKnn",
    "ItemToItem",
    "KindDemand",
    "PeopleAlike",
    "PersonalFrequency",
    "Popularity",
    "Promotions",
    "Session",
    "TextNeighbours",
]
