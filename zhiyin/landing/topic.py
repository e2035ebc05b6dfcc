"""A topic of Kafka, or of a broker that speaks its protocol, whose messages are JSON objects."""

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import duckdb
import pyarrow as pa

from zhiyin.landing.messages import one_line
from zhiyin.store import json_digest

log = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds to wait for the broker's next message
PLACE = ("kafka_partition", "kafka_offset", "kafka_at")  # name a message; offsets begin anew where a topic is made anew
AT_ONCE = 10_000  # messages that are asked for at once


@dataclass(frozen=True)
class Topic:
    """All messages that the topic holds when it is read; ``options`` are librdkafka's, such as ``security.protocol``.

    A row has the fields of its message, and ``kafka_partition``, ``kafka_offset`` and ``kafka_at`` (UTC). Objects and
    lists come as JSON. A message that is no JSON object is left out and counted.
    """

    servers: str
    topic: str
    options: Mapping[str, str] = field(default_factory=dict)

    cure: ClassVar[str] = "see that the broker answers, that its user may read the topic, and what the messages are"

    def __str__(self) -> str:
        return f"kafka: {self.topic}"

    def definition(self) -> dict[str, Any]:
        """What ``meta.land`` says of it."""
        return {"kafka": {"servers": self.servers, "topic": self.topic, "options": dict(self.options)}}

    def relation(self) -> str:
        """SQL of the rows."""
        return f"kafka_{json_digest([self.servers, self.topic])[:8]}"

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read the topic, and make its rows readable on a connection.

        Raises:
            FileNotFoundError: the library is not installed, or no such topic.
            ValueError: the broker does not answer, or stops to.
        """
        connection.register(self.relation(), self._rows())

    def explain(self, error: duckdb.Error) -> str:
        """What went wrong in reading it, in one line."""
        return one_line(error, self.servers)

    def fingerprint(self) -> None:
        """None: the topic must be read to know what it holds."""
        return

    def _rows(self) -> pa.Table:
        rows: list[dict[str, Any]] = []
        unread = 0
        for message in self._messages():
            try:
                fields = json.loads(message.value() or b"")
            except ValueError:
                fields = None
            if not isinstance(fields, dict):
                unread += 1
                continue
            _, milliseconds = message.timestamp()
            place = dict(zip(PLACE, (message.partition(), message.offset(), milliseconds), strict=True))
            rows.append({name: _plain(value) for name, value in fields.items()} | place)
        if unread:
            log.warning("%s: %d of %d messages are no JSON object and are left out", self, unread, unread + len(rows))
        return _table(rows)

    def _messages(self) -> list[Any]:
        """Every message from the beginning of each partition to its end as it was at the start."""
        try:
            from confluent_kafka import Consumer, KafkaException, TopicPartition
        except ImportError:
            raise FileNotFoundError(
                f"{self}: is read by the package confluent-kafka, which is not installed: pip install confluent-kafka"
            ) from None
        options = {name: os.path.expandvars(str(value)) for name, value in self.options.items()}
        given = {"bootstrap.servers": os.path.expandvars(self.servers), "group.id": "zhiyin", "log_level": 0}
        ours = {"enable.auto.commit": False, "auto.offset.reset": "earliest", "enable.partition.eof": True}
        consumer = Consumer(given | options | ours)
        try:
            partitions = consumer.list_topics(self.topic, timeout=PATIENCE).topics[self.topic].partitions
            if not partitions:
                raise FileNotFoundError(f"{self}: there is no such topic")
            ends = {}
            for number in partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, number), timeout=PATIENCE)
                if high > low:
                    ends[number] = (low, high)
            consumer.assign([TopicPartition(self.topic, number, low) for number, (low, _) in ends.items()])
            return self._read(consumer, {number: high for number, (_, high) in ends.items()})
        except KafkaException as error:
            raise ValueError(f"{self}: cannot be read: {error.args[0].str()}; {self.cure}") from None
        finally:
            consumer.close()

    def _read(self, consumer: Any, ends: dict[int, int]) -> list[Any]:
        """Messages of each partition up to its end; a partition is read when its last message or its end came."""
        from confluent_kafka import KafkaError

        read: list[Any] = []
        unread = set(ends)
        heard = time.monotonic()
        while unread:
            messages = consumer.consume(AT_ONCE, timeout=1.0)
            for message in messages:
                partition, error = message.partition(), message.error()
                if error and error.code() != KafkaError._PARTITION_EOF:
                    raise ValueError(f"{self}: cannot be read: {error.str()}; {self.cure}")
                if error or message.offset() + 1 >= ends[partition]:
                    unread.discard(partition)
                if not error and message.offset() < ends[partition]:
                    read.append(message)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE:
                raise ValueError(f"{self}: the broker sent nothing for {PATIENCE:.0f} seconds; {self.cure}")
        return read


def _plain(value: Any) -> Any:
    """A value that fits in a column: objects and lists as JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """A column by field; one whose values are of several types holds texts."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(PLACE)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.array([None if value is None else str(value) for value in values], pa.string())
    columns["kafka_at"] = columns["kafka_at"].cast(pa.int64()).cast(pa.timestamp("ms"))
    return pa.table(columns)
