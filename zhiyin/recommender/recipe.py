"""The recipe: everything that decides what a bundle is, besides the data.

One default, which a dataset may replace by a file of its own, ``dbt_project/datasets/<name>/recipe.toml``::

    protocol = "next_days"      # splits for training and evaluation: windows of days, or leave_one_out
    repeats = true              # whether a list may hold what its user already has
    least = 10                  # events from which on an item can be listed; new items can be before
    windows = 3                 # earlier splits on which the ranker learns
    refit = true                # fit the generators for each split; false: once, before the earliest
    negatives = 0.4             # share of the candidates that were not taken which the ranker learns from

    [generators.item_to_item]   # by the name that its features have, in the order in which they are asked
    quota = 80                  # how many of its best items become candidates
    decay = 0.9                 # and its own settings
    new_quota = 150             # the same for lists of what is new to the user; else quota
    graded = false              # true: what a user graded below the usual counts against items like it
    # kind = "item_to_item"     # where the name is another one: two generators of one kind

    [generators.interest]       # the interest encoder: width, layers, length, minutes of training, ...
    width = 64
    [ranker]                    # parameters of LightGBM, and trees
    [slate]                     # rules where ZHIYIN_RULES names no file: see zhiyin/recommender/slate/rules.py

``zhiyin tune`` writes it; training, evaluation, benchmarks and the ablation read it.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zhiyin.clock import Clock
from zhiyin.contract import LABEL_WINDOWS, MIN_ITEM_INTERACTIONS
from zhiyin.recommender.slate.rules import SlateRules
from zhiyin.settings import DATASETS, Settings
from zhiyin.store import atomic_file, json_digest

FILE = "recipe.toml"

# In the order in which a recommender asks them; their names are feature names of the ranker.
DEFAULT = ("personal_frequency", "item_to_item", "interest", "text_neighbours", "popularity", "people_alike", "session")


class GeneratorRecipe(BaseModel):
    """One generator: its kind, its quota, and settings of its kind (the keyword arguments of its ``fit``)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str
    quota: int = Field(ge=1, le=10_000)
    new_quota: int | None = Field(default=None, ge=1, le=10_000)
    graded: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Recipe(BaseModel):
    """See the text of this file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["next_days", "leave_one_out"] = "next_days"
    repeats: bool = True
    least: int = Field(default=MIN_ITEM_INTERACTIONS, ge=0)
    windows: int = Field(default=LABEL_WINDOWS, ge=1, le=12)
    refit: bool = True
    negatives: float = Field(default=0.4, gt=0, le=1)
    generators: dict[str, GeneratorRecipe] = Field(default_factory=lambda: _by_default())
    ranker: dict[str, Any] = Field(default_factory=dict)
    slate: SlateRules = SlateRules()

    @model_validator(mode="before")
    @classmethod
    def _named_kinds(cls, given: Any) -> Any:
        """A generator's kind is its name, and its quota that of its kind, where the file says nothing else."""
        if not isinstance(given, dict) or "generators" not in given:
            return given
        from zhiyin.recommender.candidates import KINDS

        generators = {}
        for name, facts in given["generators"].items():
            facts = facts.model_dump() if isinstance(facts, GeneratorRecipe) else dict(facts)
            kind = facts.setdefault("kind", name)
            if kind not in KINDS:
                raise ValueError(f"generators.{name}: no kind {kind!r}; there are {', '.join(KINDS)}")
            facts.setdefault("quota", KINDS[kind].quota)
            generators[name] = facts
        return {**given, "generators": generators}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.generators:
            raise ValueError("generators: a recipe needs at least one")
        return self

    @property
    def digest(self) -> str:
        """Identifies a recipe."""
        return json_digest(self.model_dump(mode="json"))


def _by_default() -> dict[str, GeneratorRecipe]:
    from zhiyin.recommender.candidates import KINDS  # heavy: a DAG file reads no more than how many windows there are

    return {name: GeneratorRecipe(kind=name, quota=KINDS[name].quota) for name in DEFAULT}


def label_windows(dataset: str) -> int:
    """How many label windows the dataset's recipe has, read without the models."""
    path = recipe_file(dataset)
    given = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return int(given.get("windows", Recipe.model_fields["windows"].default))


def run_clock(settings: Settings, as_of: str) -> Clock:
    """The clock of a run of the chosen dataset.

    Raises:
        ValueError: ``as_of`` is no date.
    """
    return Clock.parse(as_of, settings.label_days, label_windows(settings.dataset))


def recipe_file(dataset: str) -> Path:
    return DATASETS / dataset / FILE


def read_recipe(dataset: str, path: Path | None = None) -> Recipe:
    """The recipe of a dataset, or of the file at ``path``; the default where the dataset has no file.

    Raises:
        ValueError: the file is not valid; names the file, the field and what is wrong.
    """
    path = path or recipe_file(dataset)
    if not path.is_file():
        return Recipe()
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
        raise ValueError(f"{path}: {told}") from None


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write what differs from the defaults; the generators whole, since a file's list takes the default's place."""
    facts = recipe.model_dump(mode="json", exclude_defaults=True)
    facts["generators"] = {name: generator.model_dump() for name, generator in recipe.generators.items()}
    with atomic_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(_without_none(facts)))


def _without_none(facts: Any) -> Any:
    """TOML knows no null."""
    if not isinstance(facts, dict):
        return facts
    return {key: _without_none(value) for key, value in facts.items() if value is not None}
