"""A build takes in only what changed, and what it leaves is what a build from nothing leaves."""

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import pytest

import zhiyin.warehouse
from benchmarks.increment import digests
from tests.data.homes import WITHOUT_TESTS
from zhiyin.clock import Clock
from zhiyin.landing import land_table, raw_tables
from zhiyin.landing.source import Files
from zhiyin.pseudonym import CHECK
from zhiyin.settings import Settings
from zhiyin.warehouse import build, publish

# Days on which a run came off, and from how many windows a ranker learned: on the 13th some snapshots are wanted that
# the 9th did not take; after it no run came off for two weeks, so that most of its snapshots are wanted again.
WEEKS = [
    Clock.parse(f"2017-02-{day:02}", windows=windows) for day, windows in ((6, 3), (8, 3), (9, 1), (13, 3), (27, 3))
]
LAST = WEEKS[-1]
SELECTED = "full refresh of the selected models, and of no other"
POSTED = {"user_id": "f" * 32, "item_id": "1082185", "value": 1.0, "source": "service"}
POSTED["ingested_at"] = "2026-11-24T12:00:00+00:00"

# An edit of the project by which a log of this size is made into tables in parts, as one is that exceeds the memory.
IN_PARTS = ("macros/parts.sql", "1) * current_setting('threads')", "1) * 500 * current_setting('threads')")

# A condition of an author that holds for every row, whatever is done to make the table in parts.
OF_THE_AUTHOR = (
    "models/intermediate/int_user_item_days.sql",
    "fate = 'kept'",
    "fate = 'kept' and hash(item_id) % 1 = 0",
)


class Shop:
    """Households of the real log, delivered as bad weeks deliver: late, twice, in other days' files, out of order.

    Most rows arrive on their day. A few come up to five days late, some of January's on the 6th or the 7th, the whole
    of the 7th after the 8th; half of the late ones lie in the file of the day on which they came, half in their own
    day's, which is written again. One row in fifty comes a second time, two days later. From the 9th on some rows of
    January, and some promotions of one of its weeks, are withdrawn. The catalogue lacks some items that are first sold
    from the 9th to the 12th. From the 8th on something is posted to the service daily: see ``post``.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.tables = {table.name: table for table in raw_tables(settings)}

    def deliver(self, clock: Clock) -> None:
        """Land what arrived before ``clock.as_of``."""
        transactions, promotions, products = (self.tables[name] for name in ("transactions", "promotions", "products"))
        day = clock.date
        self.folder.mkdir(exist_ok=True)
        duckdb.execute(f"""
            copy (
                with numbered as (
                    select *, transaction_timestamp::date as day, hash(basket_id, product_id, quantity) as draw
                    from {transactions.source.relation()} where {transactions.rows}
                ),
                late as (
                    select *, case
                        when day = '2017-02-07' then 2
                        when draw % 40 = 0 then 1 + draw // 40 % 5
                        when day < '2017-02-01' and draw % 300 = 1 then date '2017-02-06' - day + draw // 300 % 2
                        else 0
                    end::integer as lateness from numbered
                ),
                delivered as (
                    select *, day + lateness as arrived, day + lateness * (draw // 7 % 2)::integer as filed from late
                    union all
                    select *, day + lateness + 2 as arrived, day + lateness + 2 as filed from late where draw % 50 = 2
                )
                select * exclude (day, draw, lateness, arrived) from delivered
                where arrived < '{day}' and not ('{day}' > '2017-02-09' and day < '2017-02-01' and draw % 200 = 3)
                order by draw, filed
            ) to '{self.folder}/transactions.parquet'
        """)
        duckdb.execute(f"""
            copy (
                select * from {promotions.source.relation()}
                where store_id % 10 = 0 and not ('{day}' > '2017-02-09' and week = 4 and product_id % 5 = 0)
                order by all
            ) to '{self.folder}/promotions.parquet'
        """)
        duckdb.execute(f"""
            copy (
                with late as (
                    select product_id from {transactions.source.relation()} where {transactions.rows}
                    group by product_id
                    having min(transaction_timestamp) >= '2017-02-09' and min(transaction_timestamp) < '2017-02-13'
                )
                select * from {products.source.relation()}
                where not (product_id % 3 = 0 and product_id in (from late))
            ) to '{self.folder}/products.parquet'
        """)
        delivered = {
            "transactions": {
                "source": Files(str(self.folder / "transactions.parquet")),
                "day": "filed",
                "rows": "true",
            },
            "promotions": {"source": Files(str(self.folder / "promotions.parquet"))},
            "products": {"source": Files(str(self.folder / "products.parquet"))},
        }
        self.post(clock)
        for table in self.tables.values():
            table = dataclasses.replace(table, **delivered.get(table.name, {}))
            land_table(table, self.settings, clock)

    def post(self, clock: Clock) -> None:
        """Two purchases, one of them five days late, each posted twice, a view, and an amount that is none."""
        if clock is WEEKS[0]:
            return
        folder = self.settings.feedback / "events" / f"day={clock.date}"
        folder.mkdir(parents=True)
        moments = {"today": clock.as_of - timedelta(hours=5), "late": clock.as_of - timedelta(days=5, hours=5)}
        lines = [
            {"event_id": f"{name} {clock.date}", "event_type": kind, "occurred_at": moment.isoformat()} | POSTED
            for name, moment in moments.items()
            for kind in ("purchase", "purchase", "view")
        ]
        huge = {"event_id": f"huge {clock.date}", "event_type": "purchase", "amount": 99_999_999_999.0}
        lines.append(huge | {"occurred_at": moments["today"].isoformat()} | POSTED)
        (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def anew(settings: Settings, home: Path) -> Settings:
    """The same lake and key, without the warehouse."""
    other = Settings(home=home, user_sample=settings.user_sample, memory_limit=settings.memory_limit)  # type: ignore[call-arg]
    shutil.copytree(settings.lake, other.lake)
    shutil.copytree(settings.pseudonym_key.parent, other.pseudonym_key.parent)
    return other


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home that was built day by day as the log was delivered; dbt's tests run on the last day."""
    settings = Settings(home=tmp_path_factory.mktemp("weeks"), user_sample=60, accept_loss=True, memory_limit="2GB")  # type: ignore[call-arg]
    shop = Shop(settings, tmp_path_factory.mktemp("shop"))
    for clock in WEEKS:
        shop.deliver(clock)
        build(settings, clock, *(WITHOUT_TESTS if clock is not LAST else ()))
    return settings


def test_weeks_of_increments_leave_what_a_full_refresh_leaves(
    weeks: Settings, edited_project: Callable[[str, str, str], None], tmp_path: Path
) -> None:
    """The refresh makes its tables in parts, as if the log were too long for the memory limit."""
    refreshed = anew(weeks, tmp_path / "home")
    edited_project(*IN_PARTS)
    edited_project(*OF_THE_AUTHOR)
    build(refreshed, LAST, *WITHOUT_TESTS)
    assert digests(weeks) == digests(refreshed)


def test_states_start_from_the_latest_snapshot_of_the_last_build(weeks: Settings) -> None:
    with duckdb.connect(str(weeks.warehouse), read_only=True) as connection:
        snapshots = connection.execute(
            "select feature_at::date::varchar, starts_from::date::varchar, becomes from increment.snapshots"
        ).fetchall()
    assert sorted(snapshots) == [
        ("2017-01-02", "2017-01-02", False),
        ("2017-01-16", "2017-01-16", False),
        ("2017-01-30", "2017-01-30", False),
        ("2017-02-13", "2017-02-13", False),
        ("2017-02-27", "2017-02-13", False),
    ]


def test_what_was_posted_counts_once_beside_the_log(weeks: Settings) -> None:
    with duckdb.connect(str(weeks.warehouse), read_only=True) as connection:
        taken = connection.execute(
            "select event_id, user_id, value, deliveries from int_events where source = 'service' and fate = 'kept'"
            " order by 1"
        ).fetchall()
        aside = connection.execute(
            "select event_id, rejected_because from int_events where source = 'service' and fate != 'kept' order by 1"
        ).fetchall()
        kept = connection.execute(f"select count(*) from interactions where user_id = '{POSTED['user_id']}'").fetchall()
    names = sorted(f"{name} {clock.date}" for name in ("late", "today") for clock in WEEKS[1:])
    assert taken == [(name, POSTED["user_id"], 1.0, 2) for name in names]
    assert kept == [(len(names),)]
    assert aside == [(f"huge {clock.date}", "amount not readable") for clock in WEEKS[1:]]


# Where there is nothing to add to, a build begins anew by itself, and says why. What it decides follows from a few
# tables; that it is asked, and that only a whole build is one to add to, is tried on the weeks.

UNCHANGED = """
    create schema increment;
    create table increment.built as select timestamp '2017-02-12' as as_of, 'as it was' as signature;
    create table increment.landed (path varchar, sha256 varchar, starts_at timestamp);
    insert into increment.landed values
        ('transactions/day=2017-02-10/part-0.parquet', 'a', '2017-02-10 07:30:00'),
        ('transactions/day=2017-02-11/part-0.parquet', 'b', '2017-02-11 08:00:00'),
        ('products/part-0.parquet', 'c', null);
    create table increment.lake as from increment.landed;
"""


@pytest.mark.parametrize(
    ("change", "as_of", "decided"),
    [
        ("", "2017-02-12", (None, "2017-02-12 00:00:00")),
        ("", "2017-02-13", (None, "2017-02-12 00:00:00")),
        (
            "insert into increment.lake values ('transactions/day=2017-02-12/part-0.parquet', 'd', '2017-02-09 23:00')",
            "2017-02-13",
            (None, "2017-02-09 00:00:00"),
        ),
        (
            "update increment.lake set sha256 = 'e', starts_at = '2017-02-11 10:00' where sha256 = 'b'",
            "2017-02-12",
            (None, "2017-02-11 00:00:00"),
        ),
        ("delete from increment.lake where sha256 = 'a'", "2017-02-12", (None, "2017-02-10 00:00:00")),
        ("truncate increment.built", "2017-02-12", ("no whole build to add to", "-infinity")),
        ("", "2017-02-11", ("the last build has a later as_of", "-infinity")),
        (
            "update increment.built set signature = 'another key'",
            "2017-02-12",
            ("the project, a setting or a version changed", "-infinity"),
        ),
        (
            "update increment.lake set sha256 = 'e' where sha256 = 'c'",
            "2017-02-12",
            (None, "2017-02-12 00:00:00"),  # a history takes the catalogue in
        ),
        (
            "insert into increment.lake values ('stores/part-0.parquet', 'f', null)",
            "2017-02-12",
            ("undated tables changed: stores", "-infinity"),
        ),
    ],
)
def test_a_build_adds_from_the_earliest_change_on_or_begins_anew(
    change: str, as_of: str, decided: tuple[str | None, str]
) -> None:
    text = (zhiyin.warehouse.DBT_PROJECT / "macros/increments.sql").read_text()
    macros = jinja2.Environment(extensions=["jinja2.ext.do"]).from_string(text).module
    with duckdb.connect() as connection:
        connection.execute(UNCHANGED + change)
        connection.execute(f"create table increment.changed as {macros.changed_files()}")  # type: ignore[attr-defined]

        def decide(asked: bool) -> list[Any]:
            sql = macros.decision(as_of, "as it was", asked, ["transactions", "stores"])  # type: ignore[attr-defined]
            return connection.execute(sql).fetchall()

        assert decide(False) == [decided]
        assert decide(True) == [("asked for", "-infinity")]


@pytest.fixture
def spoilt(weeks: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The home of the weeks, to be spoilt; it is put back as it was."""
    kept = shutil.copytree(weeks.home, tmp_path / "kept")
    yield weeks
    shutil.rmtree(weeks.home)
    kept.rename(weeks.home)


def word_of(settings: Settings, clock: Clock, caplog: pytest.LogCaptureFixture) -> str:
    """What a build says of itself; it makes one model only, which is enough to say it."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="zhiyin.warehouse"):
        build(settings, clock, "--select", "contract_users", *WITHOUT_TESTS)
    return "\n".join(record.getMessage() for record in caplog.records)


def test_a_build_of_some_models_is_none_to_add_to(spoilt: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert f"increment: what happened since {LAST.date}" in word_of(spoilt, LAST, caplog)
    with pytest.raises(ValueError, match="the last dbt build failed"):
        publish(spoilt, LAST)


def test_a_build_with_a_failed_test_is_none_to_add_to(spoilt: Settings) -> None:
    with duckdb.connect(str(spoilt.warehouse)) as connection:
        connection.execute("insert into interactions select * from interactions where occurred_at < '2017-01-03'")
    with pytest.raises(RuntimeError, match="no_event_is_lost"):
        build(spoilt, LAST)
    with duckdb.connect(str(spoilt.warehouse)) as connection:
        assert connection.execute("from increment.built").fetchall() == []


def test_another_pseudonym_key_begins_anew(spoilt: Settings, caplog: pytest.LogCaptureFixture) -> None:
    spoilt.pseudonym_key.write_text("ab" * 32)
    (spoilt.data / CHECK).unlink()
    assert f"{SELECTED}: the project, a setting or a version changed" in word_of(spoilt, LAST, caplog)


# What was true of an item stays true of the days on which it was.


def test_a_changed_catalogue_is_an_increment_and_leaves_the_past_as_it_was(
    spoilt: Settings, edited_project: Callable[[str, str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """An item changes brand and category, another is withdrawn, some are new; the same day is built three times.

    Categories move, so that the increment makes the states of all users anew: in parts, too.
    """
    edited_project(*IN_PARTS)
    build(spoilt, LAST, *WITHOUT_TESTS)
    products = next(table for table in raw_tables(spoilt) if table.name == "products")
    catalogue = products.source.relation()
    unknown = f"""
        select min(occurred_at)::date::varchar, count(*) > 0 from quarantined_events
        where rejected_because = 'item unknown' and item_id in (select product_id::varchar from {catalogue})
    """
    with duckdb.connect(str(spoilt.warehouse), read_only=True) as connection:
        known = {item for (item,) in connection.execute("select item_id from items").fetchall()}
        past = connection.execute("select * exclude (valid_to) from item_history order by all").fetchall()
        (changed, _), (withdrawn, events) = connection.execute("""
            select item_id, count(*) as events from interactions group by item_id order by events desc, item_id limit 2
        """).fetchall()
        [(earliest, lacked)] = connection.execute(unknown).fetchall()
    assert lacked
    assert earliest < LAST.date
    source = spoilt.home / "products.parquet"
    duckdb.execute(f"""
        copy (
            select * replace (
                if(product_id = {changed}, 'Private brand', brand) as brand,
                if(product_id = {changed}, 'ANOTHER', product_category) as product_category
            )
            from {catalogue} where product_id != {withdrawn}
        ) to '{source}'
    """)
    tomorrow = Clock(LAST.as_of + timedelta(days=1))
    land_table(dataclasses.replace(products, source=Files(str(source))), spoilt, tomorrow)
    with caplog.at_level(logging.INFO, logger="zhiyin.warehouse"):
        build(spoilt, tomorrow, *WITHOUT_TESTS)
    assert f"increment: what happened since {earliest}" in caplog.text
    # Every snapshot moved by a day; states of users without an event on that day stay.
    with duckdb.connect(str(spoilt.warehouse), read_only=True) as connection:
        made = connection.execute("select distinct feature_at from int_states_to_make order by 1").fetchall()
    assert made == [(moment.replace(tzinfo=None),) for moment in tomorrow.snapshots]
    first = digests(spoilt)

    with duckdb.connect(str(spoilt.warehouse), read_only=True) as connection:
        before = f"select * exclude (valid_to) from item_history where valid_from < '{tomorrow.date}' order by all"
        assert [row for row in connection.execute(before).fetchall() if row[0] in known] == past
        news = f"select item_id, brand, available from item_history where valid_from = '{tomorrow.date}'"
        new = {item: (brand, available) for item, brand, available in connection.execute(news).fetchall()}
        assert new.keys() == {changed, withdrawn}
        assert new[changed] == ("Private brand", True)
        assert not new[withdrawn][1]
        current_rows = f"select item_id, available from items where item_id in ('{changed}', '{withdrawn}')"
        assert dict(connection.execute(current_rows).fetchall()) == {changed: True, withdrawn: False}
        assert connection.execute(unknown).fetchall() == [(None, False)]
        of_withdrawn = f"select count(*) from interactions where item_id = '{withdrawn}'"
        assert connection.execute(of_withdrawn).fetchall() == [(events,)]

    for again in ((), ("--full-refresh",)):
        build(spoilt, tomorrow, *WITHOUT_TESTS, *again)
        assert digests(spoilt) == first


def test_a_changed_model_begins_anew(
    spoilt: Settings, edited_project: Callable[[str, str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    edited_project("models/marts/users.sql", "with versions", "-- changed\nwith versions")
    assert f"{SELECTED}: the project, a setting or a version changed" in word_of(spoilt, LAST, caplog)


def test_an_edited_model_is_made_alone_and_every_other_table_stays(
    spoilt: Settings, edited_project: Callable[[str, str, str], None]
) -> None:
    """A feature is one line; `dbt run -s MODEL` fills it for every row, and the next whole build begins anew."""
    before = digests(spoilt)
    edited_project(
        "models/intermediate/int_user_windows.sql",
        "{% set features = [",
        '{% set features = [\n    {"name": "pieces_14d", "days": 14, "total": "sum(pieces)", "type": "double"},',
    )
    build(spoilt, LAST, "--select", "int_user_windows", *WITHOUT_TESTS)
    after = digests(spoilt)
    assert {table for table in before if after[table] != before[table]} == {"user_activity"}
    with duckdb.connect(str(spoilt.warehouse), read_only=True) as connection:
        wrong = connection.execute(f"""
            with counted as (
                select user_id, sum(value) as pieces from interactions
                where occurred_at >= timestamp '{LAST.date}' - interval 14 day group by user_id
            )
            select count(*), count(*) filter (where pieces_14d is distinct from coalesce(pieces, 0))
            from (
                select * from int_user_windows
                qualify row_number() over (partition by user_id order by feature_at desc) = 1
            ) as latest left join counted using (user_id)
        """).fetchall()
    assert wrong[0][0] > 0
    assert wrong[0][1] == 0
