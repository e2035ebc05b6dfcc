"""From pseudonyms back to the dataset's own user ids, by the lake and the key."""

from zhiyin.landing.datasets import raw_tables
from zhiyin.pseudonym import load_key, pseudonymise
from zhiyin.settings import Settings
from zhiyin.store.sql import connect


def raw_users(settings: Settings) -> dict[str, str]:
    """The raw id of every user with landed events, by pseudonym; ids that only the service received are not kept.

    Raises:
        ValueError: the source definition does not say which column of the events is the user.
    """
    key = load_key(settings)
    found: dict[str, str] = {}
    for table in raw_tables(settings):
        if not table.events or table.posted:
            continue
        if table.user is None:
            raise ValueError(f"{settings.dataset}: meta.land of {table.name} names no user; add it to export lists")
        files = str(settings.lake / table.name / "**" / "part-0.parquet")
        with connect() as connection:
            rows = connection.execute(
                f"select distinct ({table.user})::varchar from read_parquet($1, hive_partitioning := true)", [files]
            ).fetchall()
        found |= {pseudonymise(key, user): user for (user,) in rows if user is not None}
    return found
