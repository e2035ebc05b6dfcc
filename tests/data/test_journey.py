"""A data engineer's way in one piece: onboard, edit, break, mend, a late delivery, a file of one's own, slim CI."""

from pathlib import Path

import duckdb

from tests.data.workplaces import Workplace

FLAGS = ("--dataset", "lamps", "--as-of", "2024-02-11")


def deliver(folder: Path, first_day: int, last_day: int, lamps_more: int = 0) -> None:
    """Orders of 30 customers, 40 a day; ``lamps_more``: late ones of the first day, with ids that come after."""
    duckdb.execute(f"""
        copy (
            select
                d * 1000 + i as event_id, 100 + i % 30 as customer, i * 7 % 20 as sku, 1 + i % 2 as qty,
                (1 + i % 2) * (5.0 + i * 7 % 20) as paid,
                timestamp '2024-01-01' + interval (d) day + interval (i) minute as ts
            from range({first_day}, {last_day}) as days (d), range(40) as numbers (i)
            union all
            select 500 + i, 100 + i % 30, i % 20, 1, 5.0 + i % 20, timestamp '2024-01-01 20:00'
            from range({lamps_more}) as n (i)
        ) to '{folder}/orders.csv' (header)
    """)
    duckdb.execute(
        f"copy (select i as sku, 'Lamp of kind ' || i as title, 5.0 + i as price from range(20) as n (i))"
        f" to '{folder}/lamps.csv' (header)"
    )


def run(workplace: Workplace, *arguments: str, fails: bool = False) -> str:
    done = workplace.zhiyin(*arguments)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_way_of_a_data_engineer(workplace: Workplace, tmp_path: Path) -> None:
    models = workplace.project / "dbt_project" / "datasets" / "lamps"
    orders = "select count(*) from interactions"

    # Onboard: no code.
    deliver(tmp_path, 0, 40)
    run(workplace, "onboard", "lamps", "--events", f"{tmp_path}/orders.csv", "--items", f"{tmp_path}/lamps.csv")
    assert workplace.warehouse("lamps", orders) == [(1600,)]
    run(workplace, "step", "publish", "--dataset", "lamps", "--as-of", "2024-02-10")

    # The next day's file has new rows only, and late ones of the first day: nothing that landed is lost.
    deliver(tmp_path, 40, 41, lamps_more=3)
    run(workplace, "step", "land", *FLAGS)
    said = run(workplace, "step", "build", *FLAGS)
    assert "increment: what happened since 2024-01-01" in said
    assert "events before 2024-02-11: 1,643 delivered, 1,643 kept, 0 duplicates, 0 set aside" in said
    assert workplace.warehouse("lamps", orders) == [(1643,)]

    # Edit, in a file of one's own, and as slim CI does: what was edited, and what follows from it.
    items = models / "stg_lamps__items.sql"
    written = items.read_text()
    items.write_text(written.replace("coalesce(title, item_id) as title", "upper(coalesce(title, item_id)) as title"))
    assert items.read_text() != written
    own = ("dbt", "--dataset", "lamps", "--dev", "ann")
    edited = run(workplace, *own, "ls", "-s", "state:modified", "--resource-type", "model")
    assert "stg_lamps__items" in edited
    assert "stg_lamps__events" not in edited
    said = run(workplace, *own, "build", "-s", "state:modified+", "--exclude", "test_type:unit")
    assert "ERROR=0" in said

    # In the warehouse one model alone, at once; no other table is touched.
    said = run(workplace, "dbt", "--dataset", "lamps", "run", "-s", "stg_lamps__items")
    assert "full refresh of the selected models, and of no other" in said
    assert workplace.warehouse("lamps", "select min(title) from stg_lamps__items") == [("LAMP OF KIND 0",)]
    assert workplace.warehouse("lamps", orders) == [(1643,)]

    # Break: the message names the model, and what is published stays.
    marts = workplace.home / "lamps" / "marts" / "CURRENT"
    before = marts.read_text()
    items.write_text(written.replace("coalesce(title, item_id)", "titel"))
    said = run(workplace, "step", "build", *FLAGS, fails=True)
    assert "stg_lamps__items" in said
    assert "titel" in said
    assert "the published marts are as they were" in said
    assert marts.read_text() == before

    # Six weeks without data do not pass.
    items.write_text(written)
    stale = ("--dataset", "lamps", "--as-of", "2024-03-24")
    run(workplace, "step", "land", *stale)
    assert "fresh of occurred_at in stg_lamps__events" in run(workplace, "step", "build", *stale, fails=True)

    # Mend.
    items.write_text(written)
    run(workplace, "step", "build", *FLAGS)
    run(workplace, "step", "publish", *FLAGS)
    assert marts.read_text() != before
    assert workplace.warehouse("lamps", "select min(title) from items") == [("Lamp of kind 0",)]
