"""Tells a column of labels, such as genres or tags, from a column of category paths by what its values hold."""

from collections.abc import Mapping

from zhiyin.onboarding.profile import Column, Profile, connect

SEPARATORS = ("|", ";", "/", ",")
LOOKED_AT = 20_000  # different values
RECURRING_SHARE = 0.5  # of the values with several parts: those with a part that stands first elsewhere


def joined(column: Column) -> str:
    """SQL of a column's values as text: of a list, or a list that is written out, its parts joined by ``|``."""
    if column.type.endswith("[]"):
        return f"array_to_string({column.sql}, '|')"
    text = f"{column.sql}::varchar"
    if column.samples and all(sample.startswith("[") for sample in column.samples):
        return f"regexp_replace(trim({text}, '[]\"'' '), '[\"'']\\s*,\\s*[\"'']', '|', 'g')"
    return text


def separator(profile: Profile, column: Column) -> str | None:
    """What stands between the parts of a column's values, where several values have several; None: they are whole."""
    texts = _values(profile, column)
    if any(">" in text for text in texts):
        return ">"
    return next((sign for sign in SEPARATORS if sum(len(_parts(text, sign)) > 1 for text in texts) > 1), None)


def is_set(profile: Profile, column: Column, sign: str) -> bool:
    """Whether the parts stand side by side: most are found first in one value and later in another.

    In a path the first part is a department, and no department is a level below another one.
    """
    if sign == ">":
        return False
    texts = {text: _parts(text, sign) for text in _values(profile, column)}
    first = {parts[0] for parts in texts.values() if parts}
    several = [parts for parts in texts.values() if len(set(parts)) > 1]
    return sum(not first.isdisjoint(parts[1:]) for parts in several) >= RECURRING_SHARE * max(len(several), 1)


def settle_labels(
    profile: Profile, mapped: dict[str, Column], given: Mapping[str, str], reasons: dict[str, str]
) -> str | None:
    """Move a column of the catalogue to where its values belong, unless the engineer named its part.

    Labels under the name of a category become ``labels``; a path, or a single word, under the name of labels becomes
    ``category`` where there is none. Returns what stands between two labels, None where no column has labels.
    """
    for part in ("category", "department"):
        if part in mapped and "labels" not in mapped and f"items.{part}" not in given:
            sign = separator(profile, mapped[part])
            if sign and is_set(profile, mapped[part], sign):
                mapped["labels"] = mapped.pop(part)
                reasons.pop(f"items.{part}")
                reasons["items.labels"] = f"its parts, between {sign}, stand in ever other combinations"
    if "labels" not in mapped:
        return None
    sign = separator(profile, mapped["labels"])
    placed = sign is None or not is_set(profile, mapped["labels"], sign)
    if placed and "category" not in mapped and "items.labels" not in given:
        mapped["category"], reasons["items.category"] = mapped.pop("labels"), reasons.pop("items.labels")
        return None
    return sign or "|"


def _values(profile: Profile, column: Column) -> list[str]:
    with connect(profile.source) as connection:
        rows = connection.execute(
            f"select distinct {joined(column)} from {profile.source.relation()} where {column.sql} is not null"
            f" order by 1 limit {LOOKED_AT}"
        ).fetchall()
    return [str(text) for (text,) in rows]


def _parts(text: str, sign: str) -> list[str]:
    return [part.strip() for part in text.split(sign) if part.strip()]
