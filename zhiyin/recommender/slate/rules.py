"""Slate rules: the operator's rules for every list, read from a TOML file and validated before use.

::

    category_share = 0.5        # at most this share of a list comes from one category while others are left
    label_share = 0.8           # ... has one label, such as a genre or a tag
    brand_share = 0.3           # ... from one brand (1: no limit, the default)
    discoveries = 0.2           # at least this share of a list is new to its user (0: off)
    new_every = 10              # every so many places one is a new item's that its content speaks for (0: off)
    diversity = 0.1             # weight of the difference from the items above (0: off, the default)
    cooldown = 0.5              # an item is not listed for this share of its usual interval (0: off, the default)

    [[rule]]
    name = "christmas"          # its name in the answer
    action = "pin"              # pin, boost, bury, exclude, or takers_only: listed for those alone who took one before
    items = ["1029743"]         # and/or departments, categories, labels, brands = […]: an item must be in each of these
    position = 1                # pin: the best match stands here
    # places = 5                # boost: up by so many places; bury needs none: behind everything else

Of items that are called the same a list holds one, whatever the rules: nobody can tell them apart.

Precedence: unavailable and excluded items are never listed; pin overrides bury, and bury overrides boost.
"""

import json
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zhiyin.store import json_digest

NEEDS = {"pin": "position", "boost": "places"}  # the field that an action requires


class Rule(BaseModel):
    """One named rule on the items that are in every list it gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    action: Literal["pin", "boost", "bury", "exclude", "takers_only"]
    items: tuple[str, ...] | None = Field(default=None, min_length=1)
    departments: tuple[str, ...] | None = Field(default=None, min_length=1)
    categories: tuple[str, ...] | None = Field(default=None, min_length=1)
    labels: tuple[str, ...] | None = Field(default=None, min_length=1)
    brands: tuple[str, ...] | None = Field(default=None, min_length=1)
    position: int | None = Field(default=None, strict=True, ge=1, le=100)
    places: int | None = Field(default=None, strict=True, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not any((self.items, self.departments, self.categories, self.labels, self.brands)):
            raise ValueError("names nothing; give items, departments, categories, labels or brands")
        for action, field in NEEDS.items():
            given = getattr(self, field) is not None
            if self.action == action and not given:
                raise ValueError(f"a {action} needs {field}, a whole number from 1")
            if self.action != action and given:
                raise ValueError(f"{field} means nothing to {self.action}; remove it, or make it a {action}")
        return self


class SlateRules(BaseModel):
    """All slate rules; without a file, the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    category_share: float = Field(default=0.5, gt=0, le=1)
    label_share: float = Field(default=0.8, gt=0, le=1)
    brand_share: float = Field(default=1.0, gt=0, le=1)
    discoveries: float = Field(default=0.2, ge=0, le=1)
    new_every: int = Field(default=10, ge=0, le=1_000)
    diversity: float = Field(default=0.0, ge=0, lt=1)
    cooldown: float = Field(default=0.0, ge=0)
    rule: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        names: set[str] = set()
        places: dict[int, str] = {}
        for rule in self.rule:
            if rule.name in names:
                raise ValueError(f"two rules are called {rule.name!r}; give each a name of its own")
            names.add(rule.name)
            if rule.position is not None:
                if rule.position in places:
                    raise ValueError(f"{places[rule.position]!r} and {rule.name!r} both pin place {rule.position}")
                places[rule.position] = rule.name
        return self

    @cached_property
    def digest(self) -> str:
        """Identifies a set of rules."""
        return json_digest(self.model_dump(mode="json"))


def read_rules(path: Path | None) -> SlateRules:
    """The rules of a file; the defaults where none is named.

    Raises:
        ValueError: the file is not there or not valid; names the file, the rule, the field and the cure.
    """
    if path is None:
        return SlateRules()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); ZHIYIN_RULES names it") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    try:
        return SlateRules.model_validate(content)
    except ValidationError as error:
        told = "; ".join(_problem(content, detail) for detail in error.errors(include_url=False, include_context=False))
        raise ValueError(f"{path}: {told}") from None


def _problem(content: dict[str, Any], detail: Any) -> str:
    where = [part for part in detail["loc"] if isinstance(part, str) and part != "rule"]
    at: Any = next((part for part in detail["loc"] if isinstance(part, int)), None)
    is_rule = detail["loc"][:1] == ("rule",) and at is not None
    model: type[BaseModel] = Rule if is_rule else SlateRules
    prefix = []
    if is_rule:
        given = content["rule"][at]
        name = given.get("name") if isinstance(given, dict) else None
        prefix = [f"rule {at + 1}" + (f" ({name})" if name else "")]
    words = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        words = f"no such field; there are {', '.join(model.model_fields)}"
    elif where and detail["type"] != "missing":
        words = f"{words}, got {json.dumps(detail['input'], default=str)[:40]}"
    return ": ".join([*prefix, *where[:1], words])
