import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

import feature_repo
from tests.conftest import free_port
from tests.features.marts import AS_OF, make_tables, publish, write_manifest
from zhiyin.settings import Settings

START_SECONDS = 30


@contextmanager
def redis_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """A real server, on a free port unless one is named, with nothing kept on disk; yields its URL."""
    if shutil.which("redis-server") is None:
        assert "CI" not in os.environ, "the online store is tried on a real Redis: install redis-server"
        pytest.skip("no redis-server on this machine")
    port = port or free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(url):
            assert process.poll() is None, "redis-server ended"
            assert time.monotonic() < until, f"redis-server did not answer in {START_SECONDS} s"
            time.sleep(0.02)
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with Redis.from_url(url) as client:
            return bool(client.ping())
    except RedisConnectionError:
        return False


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["sqlite", "redis"])
def online_store(request: pytest.FixtureRequest) -> str | None:
    """The setting of each online store in turn; Redis is empty."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("redis_url")
    with Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", memory_limit="1GB")


@pytest.fixture
def dbt_manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "manifest.json")


def filled(settings: Settings, dbt_manifest: Path, online_store: str | None) -> Settings:
    """A home whose features are applied and materialized as of day 80, in an online store."""
    settings = settings.model_copy(update={"online_store": online_store})
    publish(settings, AS_OF, make_tables(AS_OF), "a")
    feature_repo.apply(settings, dbt_manifest)
    feature_repo.materialize(settings, AS_OF)
    return settings


@pytest.fixture
def store(settings: Settings, dbt_manifest: Path, online_store: str | None) -> Settings:
    """The filled home, in each online store."""
    return filled(settings, dbt_manifest, online_store)
