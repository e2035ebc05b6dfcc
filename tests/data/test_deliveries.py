"""No delivery takes rows away in silence: it is merged, it replaces whole days, or it is refused with the numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.data.test_landing import contents
from zhiyin.clock import Clock
from zhiyin.landing import land_table, verify_lake
from zhiyin.landing.source import Files
from zhiyin.landing.table import NO_DAY, RawTable
from zhiyin.settings import Settings

AS_OF = Clock.parse("2017-03-06")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")  # type: ignore[call-arg]


@pytest.fixture
def accepting(settings: Settings) -> Settings:
    return settings.model_copy(update={"accept_loss": True})


@pytest.fixture
def table(tmp_path: Path) -> RawTable:
    """1,000 receipts on each of three days."""
    source = tmp_path / "receipts.parquet"
    deliver(source, "1, 2, 3", "range(1000)")
    return RawTable("receipts", Files(str(source)), day="bought_at", events=True)


def deliver(source: Path, days: str, ids: str, pieces: str = "1") -> None:
    duckdb.execute(
        f"copy (select d * 10000 + i as id, {pieces} as pieces, make_timestamp(2017, 3, d, 12, 0, 0) as bought_at"
        f" from unnest([{days}]) as days(d), {ids} as ids(i)) to '{source}' (format parquet)"
    )


def rows_of(settings: Settings) -> dict[str, int]:
    return {
        path.parent.name.removeprefix("day="): pq.read_metadata(path).num_rows
        for path in sorted((settings.lake / "receipts").glob("*/*.parquet"))
    }


WHOLE = {"2017-03-01": 1000, "2017-03-02": 1000, "2017-03-03": 1000}


def late(source: Path) -> None:
    """Today's rows, and five late ones for each of two earlier days."""
    duckdb.execute(
        f"copy (select d * 10000 + i as id, 1 as pieces, make_timestamp(2017, 3, d, 12, 0, 0) as bought_at"
        f" from (values (4, 0, 1000), (2, 1000, 1005), (3, 1000, 1005)) as days(d, low, high),"
        f" range(low, high) as ids(i))"
        f" to '{source}' (format parquet)"
    )


def test_a_late_delivery_that_would_erase_days_is_refused_with_the_numbers(settings: Settings, table: RawTable) -> None:
    land_table(table, settings, AS_OF)
    before = contents(settings.lake)
    late(Path(table.source.location))
    refused = (
        r"receipts\.parquet \(receipts\): .* more than 5% .*2017-03-02: 1,000 rows become 5; 2017-03-03: 1,000 rows"
    )
    with pytest.raises(ValueError, match=refused + r".*Nothing was changed.*delivery: append.*--accept-loss"):
        land_table(table, settings, AS_OF)
    assert contents(settings.lake) == before


def test_a_loss_is_landed_when_it_is_accepted(settings: Settings, accepting: Settings, table: RawTable) -> None:
    land_table(table, settings, AS_OF)
    late(Path(table.source.location))
    land_table(table, accepting, AS_OF)
    assert rows_of(settings) == {"2017-03-01": 1000, "2017-03-02": 5, "2017-03-03": 5, "2017-03-04": 1000}
    assert land_table(table, settings, AS_OF).written == 0  # later runs need no flag


def test_a_small_day_may_lose_a_few_rows(settings: Settings, table: RawTable) -> None:
    source = Path(table.source.location)
    deliver(source, "1", "range(10)")
    land_table(table, settings, AS_OF)
    deliver(source, "1", "range(7)")
    land_table(table, settings, AS_OF)
    deliver(source, "1", "range(3)")
    with pytest.raises(ValueError, match="2017-03-01: 7 rows become 3"):
        land_table(table, settings, AS_OF)


@pytest.mark.parametrize("identity", [(), ("id",)])
def test_a_source_that_appends_is_merged(settings: Settings, table: RawTable, identity: tuple[str, ...]) -> None:
    table = replace(table, delivery="append", identity=identity)
    land_table(table, settings, AS_OF)
    untouched = contents(settings.lake)["receipts/day=2017-03-01/part-0.parquet"]
    late(Path(table.source.location))
    assert land_table(table, settings, AS_OF).written == 3
    merged = WHOLE | {"2017-03-02": 1005, "2017-03-03": 1005, "2017-03-04": 1000}
    assert rows_of(settings) == merged

    once = contents(settings.lake)
    deliver(Path(table.source.location), "1, 2", "range(300)")  # nothing that is new
    assert land_table(table, settings, AS_OF).written == 0
    assert contents(settings.lake).keys() == once.keys()
    assert rows_of(settings) == merged
    assert contents(settings.lake)["receipts/day=2017-03-01/part-0.parquet"] == untouched


def test_a_correction_takes_the_place_of_the_row_with_its_identity(settings: Settings, table: RawTable) -> None:
    table = replace(table, delivery="append", identity=("id",))
    land_table(table, settings, AS_OF)
    deliver(Path(table.source.location), "2", "range(10)", "7")
    land_table(table, settings, AS_OF)
    day = settings.lake / "receipts/day=2017-03-02/part-0.parquet"
    assert duckdb.execute(f"select pieces, count(*) from '{day}' group by 1 order by 1").fetchall() == [
        (1, 990),
        (7, 10),
    ]


def test_rows_that_are_equal_stay_as_many_as_were_delivered_at_once(settings: Settings, table: RawTable) -> None:
    """Two equal lines of a receipt are two lines, and lines without an identity are compared whole."""
    source = Path(table.source.location)
    table = replace(table, delivery="append", identity=("id",))
    duckdb.execute(
        "copy (select null::integer as id, i // 2 as pieces, timestamp '2017-03-01 12:00' as bought_at"
        f" from range(10) as ids(i)) to '{source}' (format parquet)"
    )
    for delivered in (table, replace(table, identity=())):
        land_table(delivered, settings, AS_OF)
        land_table(replace(delivered, rows="pieces < 3"), settings, AS_OF)
        assert rows_of(settings) == {"2017-03-01": 10}


def test_a_snapshot_removes_the_days_that_it_lacks(settings: Settings, accepting: Settings, table: RawTable) -> None:
    table = replace(table, delivery="snapshot")
    land_table(table, settings, AS_OF)
    deliver(Path(table.source.location), "2, 3", "range(1000)")
    with pytest.raises(ValueError, match=r"the table: 3,000 rows become 2,000"):
        land_table(table, settings, AS_OF)
    assert rows_of(settings) == WHOLE
    assert land_table(table, accepting, AS_OF).removed == 1
    assert rows_of(settings) == {"2017-03-02": 1000, "2017-03-03": 1000}


def test_a_catalogue_cut_short_is_refused(settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "items.parquet"
    catalogue = RawTable("items", Files(str(source)))
    deliver(source, "1", "range(1000)")
    land_table(catalogue, settings, AS_OF)
    deliver(source, "1", "range(400)")
    with pytest.raises(ValueError, match=r"the table: 1,000 rows become 400"):
        land_table(catalogue, settings, AS_OF)


def test_one_row_without_a_moment_lands_apart(settings: Settings, tmp_path: Path) -> None:
    """Staging sets it aside; the rest of the delivery lands."""
    source = tmp_path / "receipts.csv"
    lines = [f"{i},2017-03-0{1 + i % 3} 12:00" for i in range(99)]
    source.write_text("\n".join(["id,bought_at", *lines, "99,a bad day"]) + "\n")
    table = RawTable("receipts", Files(str(source)), day="bought_at::timestamp", events=True)
    assert land_table(table, settings, AS_OF).rows == 100
    assert rows_of(settings) == {NO_DAY: 1, "2017-03-01": 33, "2017-03-02": 33, "2017-03-03": 33}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


LOST: dict[str, Any] = {"gone": Path.unlink, "not as it was landed": damage}


@pytest.mark.parametrize("how", LOST)
def test_a_day_lost_from_the_lake_is_found_and_written_again(settings: Settings, table: RawTable, how: str) -> None:
    land_table(table, settings, AS_OF)
    verify_lake(settings.lake)
    LOST[how](settings.lake / "receipts/day=2017-03-02/part-0.parquet")
    with pytest.raises(ValueError, match=rf"receipts/day=2017-03-02/part-0\.parquet is {how}.*Run the step land"):
        verify_lake(settings.lake)
    land_table(table, settings, AS_OF)
    verify_lake(settings.lake)
    assert rows_of(settings) == WHOLE


def test_a_lost_day_that_the_source_no_longer_has_is_given_up_by_the_flag_alone(
    settings: Settings, accepting: Settings, table: RawTable
) -> None:
    land_table(table, settings, AS_OF)
    (settings.lake / "receipts/day=2017-03-01/part-0.parquet").unlink()
    deliver(Path(table.source.location), "2, 3", "range(1000)")
    land_table(table, settings, AS_OF)
    with pytest.raises(ValueError, match=r"day=2017-03-01/part-0\.parquet is gone"):
        verify_lake(settings.lake)
    land_table(table, accepting, AS_OF)
    verify_lake(settings.lake)


def test_a_file_that_landing_did_not_finish_is_no_part_of_the_lake(settings: Settings, table: RawTable) -> None:
    land_table(table, settings, AS_OF)
    stray = settings.lake / "receipts/day=2017-03-09/part-0.parquet"
    stray.parent.mkdir()
    stray.write_bytes((settings.lake / "receipts/day=2017-03-01/part-0.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"day=2017-03-09/part-0\.parquet was never landed whole"):
        verify_lake(settings.lake)
