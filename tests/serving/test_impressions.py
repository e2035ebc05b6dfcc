"""An impression is on disk before its list is answered, whatever else happens (law 9)."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from bento.durable_log import DurableLog


def lines(folder: Path) -> list[tuple[str, int]]:
    """(day, n) of every line, read as any analyst would."""
    query = "select cast(day as varchar), n from read_json(?, hive_partitioning = true) order by n"
    return duckdb.execute(query, [f"{folder}/day=*/*.jsonl"]).fetchall()


def test_every_acknowledged_line_survives_a_killed_process(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from bento.durable_log import DurableLog\n"
        "log = DurableLog(Path(sys.argv[1]))\n"
        "for n in range(50): log.append({'n': n}).result()\n"
        "print('acknowledged', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "acknowledged\n"
        process.send_signal(signal.SIGKILL)
    assert [n for _, n in lines(tmp_path)] == list(range(50))


def test_lines_that_arrive_together_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []

    def slow_sync(descriptor: int) -> None:
        syncs.append(descriptor)
        time.sleep(0.02)

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    log = DurableLog(tmp_path)
    writers = [threading.Thread(target=lambda n=n: log.append({"n": n}).result()) for n in range(100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    log.close()
    assert [n for _, n in lines(tmp_path)] == list(range(100))
    assert 1 <= len(syncs) <= 20


def test_a_failed_write_is_told_and_the_next_one_works(tmp_path: Path) -> None:
    folder = tmp_path / "impressions"
    folder.write_text("a file where the folder should be")
    log = DurableLog(folder)
    with pytest.raises(OSError, match="impressions"):
        log.append({"n": 1}).result()
    folder.unlink()
    log.append({"n": 2}).result()
    log.close()
    assert [n for _, n in lines(folder)] == [2]


def test_files_rotate_and_are_never_reopened(tmp_path: Path) -> None:
    for first in (0, 3):
        log = DurableLog(tmp_path, max_bytes=15)
        for n in range(first, first + 3):
            log.append({"n": n}).result()
        log.close()
    files = sorted(tmp_path.glob("day=*/*.jsonl"))
    assert sorted(file.stat().st_size for file in files) == [8, 8, 16, 16]
    assert [n for _, n in lines(tmp_path)] == list(range(6))
