"""The person that an id means."""

from dataclasses import dataclass
from typing import Self

from zhiyin.pseudonym import clean, load_key, pseudonymise
from zhiyin.settings import Settings


@dataclass(frozen=True)
class Person:
    """``user_id`` as the source writes it, but for blanks and composed letters; its ``pseudonym``; its ``mark``.

    A mark is the pseudonym of the pseudonym: it stands in no file but the list of those who are not to land again.
    """

    user_id: str
    pseudonym: str
    mark: str

    @classmethod
    def of(cls, settings: Settings, user_id: str) -> Self:
        key = load_key(settings.pseudonym_key)
        user_id = clean(user_id)
        pseudonym = pseudonymise(key, user_id)
        return cls(user_id, pseudonym, pseudonymise(key, pseudonym))
