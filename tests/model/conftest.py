"""Fixtures of the model tests."""

import pytest

from tests.model.checkerboard import World


@pytest.fixture(scope="session")
def world() -> World:
    return World()
