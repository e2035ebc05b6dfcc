"""Candidate generators: one interface (``base``), one file per generator, and the list of those in use."""

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
from zhiyin.recommender.candidates.text_neighbours import TextNeighbours

# In the order in which a recommender asks them; their names are feature names of the ranker.
GENERATORS: tuple[type[CandidateGenerator], ...] = (
    PersonalFrequency,
    ItemToItem,
    Interest,
    TextNeighbours,
    Popularity,
    PeopleAlike,
)

__all__ = [
    "GENERATORS",
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
    "TextNeighbours",
]
