"""What a dataset leaves out on purpose: ``exclude`` in the meta of its source definition.

    sources:
      - name: till
        config:
          meta:
            exclude:
              users:
                - {because: till without a card, ids: ["0000"]}
              items:
                - {because: service line, ids: [POST, DOT]}
                - {because: voucher, where: "title ilike '%voucher%'"}
              events:
                - {because: wholesale, where: "event_type = 'purchase' and value > 500"}

``ids`` are the source's own, in quotes; ``where`` is SQL over the columns of contract_items or contract_events. The
rows land all the same: their events are set aside with ``excluded: BECAUSE``, and such items are never listed. dbt
reads the block (dbt_project/macros/exclusions.sql).
"""

from pathlib import Path
from typing import Any

KEYS = {"users": ("ids",), "items": ("ids", "where"), "events": ("where",)}


def check_exclusions(path: Path, source: dict[str, Any]) -> None:
    """Refuse a block that dbt could not read.

    Raises:
        ValueError: the message names file, entry and what it needs.
    """
    block = (source.get("meta") or source.get("config", {}).get("meta") or {}).get("exclude", {})
    if not isinstance(block, dict) or set(block) - set(KEYS):
        raise ValueError(f"{path}: meta.exclude has {', '.join(map(str, block))}; known: {', '.join(KEYS)}")
    for kind, entries in block.items():
        for number, entry in enumerate(entries if isinstance(entries, list) else [entries], 1):
            place = f"{path}: meta.exclude.{kind}, entry {number}"
            wanted = " or ".join(KEYS[kind])
            if not isinstance(entry, dict) or "because" not in entry or len(set(entry) & set(KEYS[kind])) != 1:
                raise ValueError(f"{place}: needs because, and {wanted}; it is {entry}")
            if unknown := set(entry) - {"because", *KEYS[kind]}:
                raise ValueError(f"{place}: has {', '.join(sorted(unknown))}; known: because, {wanted}")
            ids = entry.get("ids", [])
            if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
                raise ValueError(f"{place}: ids are a list of texts, in quotes; it is {ids}")
