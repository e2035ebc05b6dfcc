"""The person behind a user id."""

from dataclasses import dataclass
from typing import Self

from zhiyin.pseudonym import clean, load_key, pseudonymise
from zhiyin.settings import Settings


@dataclass(frozen=True)
class Person:
    """``user_id`` as in the source, with blanks and Unicode normalised; its ``pseudonym``; its ``mark``.

    A mark is the pseudonym of the pseudonym; only the list of erased users holds it.
    """

    user_id: str
    pseudonym: str
    mark: str

    @classmethod
    def of(cls, settings: Settings, user_id: str) -> Self:
        key = load_key(settings)
        user_id = clean(user_id)
        pseudonym = pseudonymise(key, user_id)
        return cls(user_id, pseudonym, pseudonymise(key, pseudonym))
