"""Forgetting, piece by piece: who lands, what a search finds, and what a cut-off or a busy moment leaves."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

import zhiyin.landing.erasure
from bento.page_data import sample_users
from cli.errors import PlatformError
from cli.forget import forget_user
from pipeline.erasure import erasure_of
from zhiyin.clock import Clock
from zhiyin.erasure.erasable import Found
from zhiyin.erasure.person import Person
from zhiyin.landing import datasets, land
from zhiyin.landing.forgotten import forgotten, remember
from zhiyin.settings import Settings
from zhiyin.warehouse import BusyError

AS_OF = Clock.parse("2024-01-10")

SOURCES = """
sources:
  - name: shop
    tables:
      - name: orders
        config:
          event_time: ordered_at
          meta: {{land: {{location: {folder}/orders.parquet, user: customer, events: true}}}}
      - name: customers
        config: {{meta: {{land: {{location: {folder}/customers.parquet, user: customer}}}}}}
      - name: articles
        config: {{meta: {{land: {{location: {folder}/articles.parquet}}}}}}
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A landed shop of customers c0000001 to c0000009 over nine days; orders of nobody, too."""
    folder = tmp_path / "source"
    folder.mkdir()
    duckdb.execute(
        f"copy (select if(i % 10 = 0, null, 'c000000' || i % 10) as customer, i % 7 as article,"
        f" timestamp '2024-01-01' + interval (i // 10) day as ordered_at from range(90) as orders (i))"
        f" to '{folder}/orders.parquet' (format parquet);"
        f"copy (select ' c000000' || i || ' ' as customer, 30 + i as age from range(1, 10) as customers (i))"
        f" to '{folder}/customers.parquet' (format parquet);"
        f"copy (select i as article, 'thing ' || i as title from range(7) as articles (i))"
        f" to '{folder}/articles.parquet' (format parquet)"
    )
    (tmp_path / "datasets" / "shop").mkdir(parents=True)
    (tmp_path / "datasets" / "shop" / "_sources.yml").write_text(SOURCES.format(folder=folder))
    monkeypatch.setattr(datasets, "DATASETS", tmp_path / "datasets")
    settings = Settings(home=tmp_path / "home", dataset="shop")  # type: ignore[call-arg]
    land(settings, AS_OF)
    return settings


def test_a_developer_s_file_that_holds_the_person_goes_and_others_stay(shop: Settings) -> None:
    pseudonym = Person.of(shop, "c0000003").pseudonym
    for name, user in (("alice", pseudonym), ("bob", "0" * 32)):
        (shop.dev / name).mkdir(parents=True)
        with duckdb.connect(str(shop.dev / name / f"{name}.duckdb")) as connection:
            connection.execute(f"create table interactions as select '{user}' as user_id")
    erase(shop, Person.of(shop, "c0000003"))
    assert [folder.name for folder in shop.dev.iterdir()] == ["bob"]


def landed(settings: Settings, table: str) -> dict[str | None, int]:
    files = f"{settings.lake}/{table}/**/part-0.parquet"
    return dict(duckdb.execute(f"select trim(customer), count(*) from '{files}' group by 1").fetchall())


def search(settings: Settings, person: Person) -> Found:
    return erasure_of(settings, person.user_id).find()


def erase(settings: Settings, person: Person) -> None:
    erasure = erasure_of(settings, person.user_id)
    erasure.erase(erasure.find())


def forget(settings: Settings, user: str = "c0000003", dry_run: bool = False) -> str:
    """The command; what it says."""
    said = io.StringIO()
    forget_user(settings, user, dry_run, Console(file=said, width=200))
    return said.getvalue()


def test_who_is_on_the_list_does_not_land_and_events_without_a_user_still_do(shop: Settings) -> None:
    before = landed(shop, "orders")
    person = Person.of(shop, "c0000003")
    remember(shop, person)
    for path in shop.lake.rglob("*.parquet"):
        path.unlink()
    land(shop, AS_OF)
    assert landed(shop, "orders") == {customer: count for customer, count in before.items() if customer != "c0000003"}
    assert before[None] == 9
    assert "c0000003" not in landed(shop, "customers")  # written with blanks there


def test_the_list_names_nobody(shop: Settings) -> None:
    person = Person.of(shop, "c0000003")
    remember(shop, person)
    remember(shop, Person.of(shop, "c0000004"))
    remember(shop, person)
    assert len(forgotten(shop)) == 2
    text = shop.forgotten.read_text()
    assert person.user_id not in text
    assert person.pseudonym not in text
    assert shop.forgotten not in search(shop, person)


def test_an_erasure_changes_the_files_of_the_person_only_and_landing_changes_nothing_more(shop: Settings) -> None:
    person = Person.of(shop, "c0000003")
    articles = shop.lake / "articles" / "part-0.parquet"
    before = articles.read_bytes()
    erase(shop, person)
    assert search(shop, person) == {}
    assert "c0000003" not in landed(shop, "orders")
    assert len(landed(shop, "orders")) == 9
    assert articles.read_bytes() == before
    counts = land(shop, AS_OF)
    assert [counts[table]["written"] for table in ("orders", "customers", "articles")] == [0, 0, 0]
    assert counts["orders"]["rows"] == 81


def test_what_a_person_posted_goes_from_log_and_lake_and_lands_no_more(shop: Settings) -> None:
    person, other = Person.of(shop, "c0000003"), Person.of(shop, "c0000004")
    log = shop.feedback / "events" / "day=2024-01-09" / "a.jsonl"
    log.parent.mkdir(parents=True)
    lines = [
        json.dumps({"event_id": name, "user_id": who.pseudonym, "event_type": "purchase", "occurred_at": at}) + "\n"
        for name, who, at in (
            ("gone", person, "2024-01-08T10:00:00Z"),
            ("gone too", person, "2024-01-09T10:00:00Z"),
            ("kept", other, "2024-01-09T11:00:00Z"),
        )
    ]
    log.write_text("".join(lines))
    land(shop, AS_OF)
    erase(shop, person)
    assert search(shop, person) == {}
    lake = f"select event_id from '{shop.lake}/posted_events/*/part-0.parquet'"
    assert duckdb.execute(lake).fetchall() == [("kept",)]

    log.write_text("".join(lines))  # an old copy of the log comes back
    land(shop, AS_OF)
    assert duckdb.execute(lake).fetchall() == [("kept",)]


def test_the_page_offers_a_forgotten_person_no_more(shop: Settings) -> None:
    """A running service remembers its samples as long as the lake's files are the same."""
    person = Person.of(shop, "c0000003")
    assert person.user_id in {sample["user_id"] for sample in sample_users(shop)}
    erase(shop, person)
    offered = {sample["user_id"] for sample in sample_users(shop)}
    assert "c0000004" in offered
    assert person.user_id not in offered


def test_an_erasure_that_breaks_off_is_completed_by_the_next(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    person = Person.of(shop, "c0000003")

    def die(*_: object) -> str:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(zhiyin.landing.erasure, "write_json", die)
        with pytest.raises(OSError, match="power cut"):
            erase(shop, person)
    assert forgotten(shop) == [person.mark]
    forget(shop)
    assert search(shop, person) == {}
    assert land(shop, AS_OF)["orders"]["written"] == 0


def test_an_identifier_that_tells_is_found_in_texts_and_a_number_only_where_users_stand(shop: Settings) -> None:
    log = shop.run / "service.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("c0000003 asked; c00000031 did not; 3 did\n")
    person = Person.of(shop, "c0000003")
    assert search(shop, person)[log] == 1
    erase(shop, person)
    assert log.read_text() == "forgotte asked; c00000031 did not; 3 did\n"
    assert search(shop, Person.of(shop, "3")) == {}


def test_a_person_in_an_unfinished_file_of_any_name_is_found(shop: Settings) -> None:
    person = Person.of(shop, "c0000003")
    left = shop.data / "features" / ".part-0.parquet.a1b2"
    left.parent.mkdir(parents=True)
    duckdb.execute(f"copy (select '{person.pseudonym}' as user_id) to '{left}' (format parquet)")
    assert search(shop, person)[left] == 1
    left.write_bytes(left.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"a1b2 cannot be read, so nobody can say whom it holds"):
        search(shop, person)
    left.unlink()
    day = next(shop.lake.glob("orders/*/part-0.parquet"))
    day.write_bytes(day.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"lake/orders cannot be read; land it again"):
        search(shop, person)


def test_rows_that_a_killed_landing_left_go_with_the_person(shop: Settings) -> None:
    """A short number is looked for in columns of users alone: no search would tell it from a count in such a file."""
    left = shop.lake / ".landing-killed" / "day=2017-01-01"
    shutil.copytree(shop.lake / "orders", left)
    forget(shop)
    assert not left.exists()


def test_what_no_step_may_rewrite_is_named_and_the_command_fails(shop: Settings) -> None:
    person = Person.of(shop, "c0000003")
    bundle = shop.bundles / "digest" / "catalogue.arrow"
    bundle.parent.mkdir(parents=True)
    bundle.write_text(f"somehow {person.pseudonym}")
    with pytest.raises(ValueError, match="user c0000003 is still found in shop/bundles/digest"):
        forget(shop)


def test_a_dry_run_changes_nothing_and_a_second_time_says_so(shop: Settings) -> None:
    files = {path: path.read_bytes() for path in shop.data.rglob("*") if path.is_file()}
    assert re.search(r"shop/lake/orders +│ 9 ", forget(shop, dry_run=True))
    assert {path: path.read_bytes() for path in shop.data.rglob("*") if path.is_file()} == files
    assert re.search(r"shop/lake/orders +│ 9 +│ 0 ", forget(shop))
    assert "already forgotten" in forget(shop)


def test_an_unknown_user_is_answered_in_one_line_and_nothing_is_kept_of_the_question(shop: Settings) -> None:
    with pytest.raises(ValueError, match="nothing is known of a user 'nobody' of shop"):
        forget(shop, "nobody")
    with pytest.raises(ValueError, match="the user id is empty"):
        forget(shop, " ")
    assert not shop.forgotten.exists()


def test_nothing_is_erased_beside_a_run(shop: Settings) -> None:
    build = f"import duckdb; held = duckdb.connect({str(shop.warehouse)!r}); print('at work', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", build], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(BusyError, match="a run is in progress"):
            forget(shop)
        process.communicate(b"\n")
    assert not shop.forgotten.exists()


def test_nothing_is_erased_while_airflow_has_a_run(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [{"dag_run_id": "as_of_2024-01-10", "state": "running"}]
    monkeypatch.setattr("cli.servers.running", lambda *_: True)
    monkeypatch.setattr("pipeline.airflow_api.AirflowApi.runs", lambda *_: runs)
    with pytest.raises(PlatformError, match="the run as_of_2024-01-10 is in progress"):
        forget(shop)
    runs[0]["state"] = "success"
    assert "is forgotten" in forget(shop)
