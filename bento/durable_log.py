"""A durable log, of impressions (which model answered which user with which list) and of events.

JSON lines under a folder of ``feedback/``, by ``day=YYYY-MM-DD/``; DuckDB and Arrow read the folder. A line is synced
to disk before its request is answered (law 9). Lines that arrive during a sync share the next one, so under load the
cost is one sync per group of requests.
"""

import contextlib
import json
import logging
import os
import threading
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO
from uuid import uuid4

logger = logging.getLogger("bentoml.zhiyin")

MAX_GROUP = 512  # lines written and synced together


class DurableLog:
    """Appends lines from any thread; one thread of its own writes and syncs.

    A file is never reopened: each process, day and ``max_bytes`` starts a new one, so only the last line of a file can
    be cut off by a crash.
    """

    def __init__(self, folder: Path, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._queue: SimpleQueue[tuple[bytes, Future[None]] | None] = SimpleQueue()
        self._file: BinaryIO | None = None
        self._day = ""
        self._thread = threading.Thread(target=self._run, name="impressions", daemon=True)
        self._thread.start()

    def append(self, record: dict[str, Any]) -> "Future[None]":
        """Queue one record; the future is done when its line is on disk, or fails with the disk's error."""
        future: Future[None] = Future()
        self._queue.put((json.dumps(record, separators=(",", ":")).encode() + b"\n", future))
        return future

    def close(self) -> None:
        """Write the queued lines and stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            last = False
            while len(group) < MAX_GROUP and not self._queue.empty():
                entry = self._queue.get()
                if entry is None:
                    last = True
                    break
                group.append(entry)
            self._commit(group)
            if last:
                break
        self._end_file()

    def _commit(self, group: list[tuple[bytes, Future[None]]]) -> None:
        waiting = [(line, future) for line, future in group if future.set_running_or_notify_cancel()]
        try:
            file = self._current_file()
            # A line whose caller hung up is kept, too: its answer may have arrived.
            file.write(b"".join(line for line, _ in group))
            file.flush()
            os.fdatasync(file.fileno())
        except Exception as error:
            logger.error("%s: %d lines not written to %s: %s", self._folder.name, len(group), self._folder, error)
            self._end_file()  # it may end in a partial line: the next group starts a new file
            for _, future in waiting:
                future.set_exception(error)
        else:
            for _, future in waiting:
                future.set_result(None)

    def _current_file(self) -> BinaryIO:
        day = datetime.now(UTC).strftime("%Y-%m-%d")  # the wall clock: recorded only (law 1)
        if self._file is None or day != self._day or self._file.tell() >= self._max_bytes:
            self._end_file()
            folder = self._folder / f"day={day}"
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / f"{datetime.now(UTC):%H%M%S}-{uuid4().hex[:12]}.jsonl").open("xb")
            self._day = day
            for parent in (folder, folder.parent):
                _sync_folder(parent)  # sync the folder, so that the file's name survives a crash
        return self._file

    def _end_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
