"""The words of a dataset's domain, from ``dbt_project/datasets/<name>/words.toml``.

Reasons and the page use them; the code that serves every dataset knows only the defaults below::

    user = "member"         # a user of this dataset
    item = "title"          # an item
    basket = "basket"       # what a user does at one time
    currency = "USD"        # of amounts and prices: ISO 4217; without it they are numbers
    timezone = "America/New_York"    # in which a day of the log begins and ends; UTC without it
    promotion = "advertised in {reach} of places"    # said of a promoted item; {reach} is a share such as 35%
    [groups]                # what people call a category or a label; without a line: its own name in small letters
    "SFT DRNK" = "soft drinks"

A bundle's manifest carries the words of its dataset, so that serving needs no dbt project.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zhiyin.settings import DATASETS

FILE = "words.toml"


class Words(BaseModel):
    """See the text of this file. Nouns are singular; their plural ends in s."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = Field(default="user", min_length=1)
    item: str = Field(default="item", min_length=1)
    basket: str = Field(default="basket", min_length=1)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    timezone: str = "UTC"
    promotion: str = Field(default="on promotion", min_length=1)
    groups: dict[str, str] = Field(default_factory=dict)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"no time zone {name!r}; give a name such as America/New_York") from None
        return name

    @field_validator("promotion")
    @classmethod
    def _only_reach(cls, sentence: str) -> str:
        try:
            sentence.format(reach="35%")
        except (KeyError, IndexError, ValueError):
            raise ValueError("the only placeholder is {reach}") from None
        return sentence


def read_words(dataset: str, path: Path | None = None) -> Words:
    """The words of a dataset, or of the file at ``path``; the defaults where there is no file.

    Raises:
        ValueError: the file is not valid; names the file, the key and what is wrong.
    """
    path = path or DATASETS / dataset / FILE
    if not path.is_file():
        return Words()
    try:
        return Words.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"{path}: {problems}") from None


@dataclass(frozen=True)
class Wording:
    """The words for reasons: the verb in the past tense, the plural of the events, and the dataset's own words."""

    did: str
    events: str
    words: Words

    @classmethod
    def of(cls, event_types: Sequence[str], words: Mapping[str, Any] | None = None) -> "Wording":
        """For a log of these event types; with several, the verb is the neutral "chose"."""
        did, events = EVENT_WORDS.get(event_types[0], CHOICE) if len(event_types) == 1 else CHOICE
        return cls(did, events, Words.model_validate(words or {}))

    @property
    def done(self) -> str:
        """The verb as a participle."""
        return "chosen" if self.did == "chose" else self.did

    def group(self, name: str) -> str:
        """What people call a category or a label."""
        return self.words.groups.get(name, name.lower())

    def day(self, moment: float) -> str:
        """The day of a moment (epoch seconds) where the dataset's users live, as YYYY-MM-DD."""
        return datetime.fromtimestamp(moment, ZoneInfo(self.words.timezone)).date().isoformat()


CHOICE = ("chose", "choices")
EVENT_WORDS = {
    "purchase": ("bought", "purchases"),
    "rating": ("rated", "ratings"),
    "view": ("viewed", "views"),
    "click": ("opened", "clicks"),
}
