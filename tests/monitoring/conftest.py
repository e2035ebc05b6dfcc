import json

import pyarrow as pa
import pytest

from tests.monitoring.homes import AS_OF, ITEMS, USERS, Build, interactions, items, quarantined, save, states
from zhiyin.settings import Settings


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Make a home; ``events`` and ``users`` stand in for the usual tables."""

    def make(events: pa.Table | None = None, users: pa.Table | None = None) -> Settings:
        settings = Settings(home=tmp_path_factory.mktemp("home"), memory_limit="1GB")
        folder = settings.marts / f"{AS_OF.date}-a"
        marts = {
            "interactions": interactions() if events is None else events,
            "items": items(),
            "quarantined_events": quarantined(),
        }
        facts = {"as_of": AS_OF.as_of.isoformat(), "rows": {name: table.num_rows for name, table in marts.items()}}
        save(folder, marts)
        (folder / "manifest.json").write_text(json.dumps(facts))
        (settings.marts / "CURRENT").write_text(folder.name)
        tables = {"users": states("user_id", USERS) if users is None else users, "items": states("item_id", ITEMS)}
        save(settings.states / AS_OF.date, tables)
        return settings

    return make
