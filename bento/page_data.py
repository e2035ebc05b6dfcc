"""What the page shows of one user: the latest baskets from the published marts; and a sample of users."""

from functools import lru_cache
from typing import Any

from zhiyin import warehouse
from zhiyin.contract import INTERACTIONS, ITEMS
from zhiyin.landing import raw_tables
from zhiyin.settings import Settings
from zhiyin.store.sql import connect

SAMPLE_DAYS = 28  # newest days of the lake that samples are drawn from

_BASKETS = """
with mine as (
    select *, coalesce(basket_id, strftime(occurred_at, '%Y-%m-%d')) as basket
    from read_parquet($interactions)
    where user_id = $user_id
),
recent as (
    select basket, max(occurred_at) as latest_at, sum(amount) filter (where event_type = 'purchase') as amount
    from mine group by basket order by latest_at desc, basket limit $baskets
)
select
    recent.basket, recent.latest_at, recent.amount,
    list(struct_pack(
        item_id := mine.item_id, title := coalesce(items.title, mine.item_id),
        category := coalesce(items.category, array_to_string(items.labels, ', ')),
        quantity := mine.value, amount := mine.amount
    ) order by mine.amount desc, mine.item_id) as items
from recent
join mine using (basket)
left join read_parquet($items) as items using (item_id)
group by all
order by recent.latest_at desc, recent.basket
"""

_SUMMARY = """
select
    count(distinct coalesce(basket_id, strftime(occurred_at, '%Y-%m-%d'))) as baskets,
    count(distinct item_id) as items, sum(amount) filter (where event_type = 'purchase') as amount,
    min(occurred_at) as first_at, max(occurred_at) as last_at
from read_parquet($interactions)
where user_id = $user_id
having count(*) > 0
"""

_SAMPLES = """
with recent as (
    select {user} as user_id, count(*) as lines, count(distinct day) as days
    from read_parquet($files, hive_partitioning := true)
    group by all
    having days >= 4
),
ranked as (
    select *, row_number() over (order by lines desc, user_id) - 1 as place, count(*) over () as total from recent
)
select cast(user_id as varchar) as user_id, cast(lines as integer) as lines, cast(days as integer) as days
from ranked
where place % greatest(total // $n, 1) = 0
order by place limit $n
"""


def _query(sql: str, **parameters: Any) -> list[dict[str, Any]]:
    with connect(threads=1) as connection:
        cursor = connection.execute(sql, parameters)
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def history(settings: Settings, user_id: str, baskets: int = 8) -> dict[str, Any]:
    """A pseudonym's latest baskets with their items, newest first, and its totals (``None`` without any event).

    Raises:
        FileNotFoundError: no marts are published yet.
    """
    marts = warehouse.current(settings)
    interactions = str(marts.path(INTERACTIONS))
    summary = _query(_SUMMARY, interactions=interactions, user_id=user_id)
    recent = _query(_BASKETS, interactions=interactions, items=str(marts.path(ITEMS)), user_id=user_id, baskets=baskets)
    return {"summary": summary[0] if summary else None, "baskets": recent}


def describe_items(settings: Settings, item_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Category, department, labels, brand and price of items, by id."""
    rows = _query(
        "select item_id, category, department, labels, brand, price from read_parquet($items) where item_id in $ids",
        items=str(warehouse.current(settings).path(ITEMS)),
        ids=item_ids,
    )
    return {row.pop("item_id"): row for row in rows}


def sample_users(settings: Settings, n: int = 12) -> list[dict[str, Any]]:
    """Raw ids of ``n`` users with events on several of the newest days, from those with the most events to the fewest.

    Law 11 keeps raw ids in the lake. The page reads them back from there; without the page (``ZHIYIN_PAGE=false``)
    nothing does.
    """
    events = raw_tables(settings)[0]
    newest = sorted((settings.lake / events.name).glob("day=*/*.parquet"))[-SAMPLE_DAYS:]
    files = tuple((str(path), path.stat().st_mtime_ns) for path in newest)  # rewritten when a user is forgotten
    return _samples(files, events.user, n) if files and events.user else []


@lru_cache(maxsize=4)
def _samples(files: tuple[tuple[str, int], ...], column: str, n: int) -> list[dict[str, Any]]:
    return _query(_SAMPLES.format(user=column), files=[path for path, _ in files], n=n)
