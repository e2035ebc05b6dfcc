"""The command line starts real processes, says in one line what is wrong, and leaves none behind."""

import socket
import sys
import time

import psutil
import pytest

from cli.servers import Server, ServerError, running, start, stop, wait_until
from zhiyin.settings import Settings

STUBBORN_PARENT = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def family(settings, name):
    process = running(settings, name)
    return [process, *process.children(recursive=True)]


def test_stop_ends_a_server_and_all_it_started_even_one_that_will_not_go(settings):
    start(settings, Server("stubborn", "Stubborn", (sys.executable, "-c", STUBBORN_PARENT)))
    wait_until(settings, Server("stubborn", "Stubborn", ()), lambda: len(family(settings, "stubborn")) == 2)
    processes = family(settings, "stubborn")
    assert stop(settings, ["stubborn"], grace=1) == ["stubborn"]
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)
    assert stop(settings, ["stubborn"]) == []


def test_a_server_that_dies_is_told_with_the_end_of_its_log(settings):
    dying = Server("dying", "Dying server", (sys.executable, "-c", "raise SystemExit('no such table: users')"))
    start(settings, dying)
    with pytest.raises(ServerError, match="no such table: users"):
        wait_until(settings, dying, lambda: False)


def test_a_taken_port_is_one_line_with_the_cure(settings):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        server = Server("ui", "Airflow UI", (sys.executable, "-c", ""), port, "ZHIYIN_AIRFLOW_PORT")
        with pytest.raises(ServerError) as error:
            start(settings, server)
    message = str(error.value)
    assert "\n" not in message
    for part in (str(port), "Airflow UI", "ZHIYIN_AIRFLOW_PORT="):
        assert part in message


def test_a_recycled_process_id_is_not_taken_for_our_server(settings):
    from cli.servers import remember
    from zhiyin.store import read_json, write_json

    remember(settings, "ui", psutil.Process().pid)
    assert running(settings, "ui")
    record = settings.run / "ui.json"
    write_json(record, read_json(record) | {"created": time.time() - 10_000})
    assert running(settings, "ui") is None
    assert stop(settings, ["ui"]) == []
