"""States that go on from build to build are those of a build from nothing, whatever the days and however late the data.

The SQL of the project on a small log, in plain DuckDB; tests/data/test_increments.py has whole builds, and fewer.
"""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import duckdb
import jinja2
import pyarrow as pa
import pytest

from zhiyin.clock import Clock
from zhiyin.warehouse import DBT_PROJECT

FIRST = datetime(2017, 1, 1)
STATES = {
    "int_user_item_repeats": "intermediate",
    "user_sequences": "marts",
    "user_category_affinity": "marts",
}


class Project:
    """The models of states and the macros that carry them over, rendered as dbt renders them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.moments: list[str] = []

    def _render(self, file: str, macro: str | None = None, facts: dict[str, Any] | None = None, **named: Any) -> str:
        environment = jinja2.Environment(extensions=["jinja2.ext.do"])
        environment.globals |= {
            "as_of": lambda: f"timestamp '{self.moments[-1]}'",
            "config": lambda **options: "",
            "execute": True,
            "get_quoted_csv": ", ".join,
            "in_part": lambda column: "true",
            "is_taken": lambda: "event_type = 'purchase'",
            "taken_value": lambda: "value",
            "is_incremental": lambda: False,  # categories stay as they are
            "ref": lambda name: name,
            "run_query": self.connection.execute,
            "snapshot_moments": lambda: self.moments,
            "snapshots": lambda: "[" + ", ".join(f"timestamp '{moment}'" for moment in self.moments) + "]",
            "states_to_make": lambda: "select user_id, feature_at from int_states_to_make",
            "model": SimpleNamespace(depends_on=SimpleNamespace(nodes=[])),
            "project_name": "zhiyin",
            "flags": SimpleNamespace(WHICH="build"),
            "begins_anew": lambda: False,
            "return": lambda value: value,
            **(facts or {}),
        }
        template = environment.from_string((DBT_PROJECT / file).read_text())
        return str(getattr(template.module, macro)(**named)) if macro else template.render()

    def build(self, clock: Clock, since: str, anew: bool) -> None:
        """The states of a run, of which the events before ``since`` are those of the run before."""
        self.moments = [moment.strftime("%Y-%m-%d") for moment in clock.snapshots]
        self._render("macros/snapshots.sql", "list_snapshots", anew=anew)
        self.connection.execute(f"create or replace macro increment.since() as timestamp '{since}'")
        self.connection.execute(f"create or replace table increment.current as select timestamp '{since}' as since")
        made = self._render("models/intermediate/int_states_to_make.sql")
        self.connection.execute(f"create or replace table int_states_to_make as {made}")
        for name, folder in STATES.items():
            query = self._render(f"models/{folder}/{name}.sql")
            if anew:
                self.connection.execute(f"create or replace table {name} as {query}")
                continue
            hook = {"this": Relation(name), "is_incremental": lambda: True}
            self.connection.execute(self._render("macros/snapshots.sql", "carry_over", facts=hook))
            self.connection.execute(f"insert into {name} by name {query}")

    def rows(self, name: str) -> list[Any]:
        return self.connection.execute(f"select * from {name} order by user_id, feature_at").fetchall()


class Relation(str):
    """A table's name, which knows itself as dbt's relations do."""

    @property
    def identifier(self) -> str:
        return str(self)


Log = list[tuple[str, str, str, str, datetime, float]]


def event(draw: random.Random, day: int, number: int) -> tuple[str, str, str, str, datetime, float]:
    """One purchase; users from u8 on come seldom."""
    user = draw.choice([*range(8), *range(8)] * 4 + [*range(8, 30)])
    at = FIRST + timedelta(days=day, hours=draw.choice([0, 9, 18, 23]))
    return (f"e{number}", f"u{user:02}", f"i{draw.randrange(12):02}", f"b{user}-{day}", at, float(draw.randint(1, 3)))


@pytest.fixture
def project() -> Iterator[Callable[[], Project]]:
    opened = []

    def make() -> Project:
        connection = duckdb.connect()
        opened.append(connection)
        connection.execute("""
            create schema increment;
            create table increment.users_before (user_id varchar, first_at timestamp);
            create table items as
            select 'i' || format('{:02d}', range) as item_id, 'c' || range % 4 as category,
                if(range % 3 = 0, null, ['l' || range % 2, 'l' || range % 5]) as labels
            from range(12);
        """)
        return Project(connection)

    yield make
    for connection in opened:
        connection.close()


def hold(project: Project, log: Log, clock: Clock) -> None:
    """The interactions before ``as_of``."""
    before = [row for row in log if row[4] < clock.as_of.replace(tzinfo=None)]
    names = ("event_id", "user_id", "item_id", "basket_id", "occurred_at", "value")
    events = pa.table(dict(zip(names, map(list, zip(*before, strict=True)), strict=True)))
    project.connection.register("events", events)
    project.connection.execute("create or replace table interactions as select *, 'purchase' as event_type from events")


@pytest.mark.parametrize("seed", range(4))
def test_states_carried_over_are_those_made_anew(project: Callable[[], Project], seed: int) -> None:
    draw = random.Random(seed)
    log = [event(draw, draw.randrange(100), number) for number in range(900)]
    going_on, anew = project(), project()
    as_of, built, carried = FIRST + timedelta(days=62), None, 0
    for _ in range(10):
        clock = Clock.parse(str(as_of.date()), draw.choice([14, 14, 14, 7]), draw.choice([3, 3, 3, 1, 5]))
        since = "-infinity"
        if built:
            earliest = built
            if draw.random() < 0.5:  # events come late, or are withdrawn
                late = as_of - timedelta(days=draw.randint(1, 45))
                gone = {row[0] for row in log if row[4] >= late and draw.random() < 0.03}
                day = (late - FIRST).days
                log = [row for row in log if row[0] not in gone]
                log += [event(draw, day + draw.randrange(5), 10_000 + len(log) + number) for number in range(3)]
                earliest = min(built, late)
            since = str(earliest)
            going_on.connection.execute(f"""
                truncate increment.users_before;
                insert into increment.users_before
                select user_id, min(occurred_at) from interactions where occurred_at >= '{since}' group by user_id
            """)
        hold(going_on, log, clock)
        hold(anew, log, clock)
        going_on.build(clock, since, anew=built is None)
        anew.build(clock, "-infinity", anew=True)
        for name in STATES:
            assert going_on.rows(name) == anew.rows(name), f"{name} as of {clock.date}"
        if built:
            carried += len(anew.rows("user_sequences")) - len(going_on.rows("int_states_to_make"))
        built, as_of = as_of, as_of + timedelta(days=draw.choice([0, 1, 1, 1, 2, 3, 9]))
    assert carried > 0
