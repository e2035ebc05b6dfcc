"""Bundles of nothing but a manifest, and decisions that say what a test wants, for tests of promotions."""

from typing import Any

from zhiyin import registry
from zhiyin.clock import Clock
from zhiyin.registry import Check, Decision
from zhiyin.settings import Settings
from zhiyin.store import write_json


def make(settings: Settings, digest: str, goes_on_from: str | None = None) -> None:
    """A bundle whose encoders started from another's."""
    write_json(settings.bundles / digest / "manifest.json", {"encoders_start_from": goes_on_from})


def decided(
    settings: Settings, challenger: str, passed: bool = True, gap: dict[str, float] | None = None, users: int = 1_700
) -> Decision:
    """About a challenger, against the present champion."""
    now = registry.champion(settings)
    checks = (Check("champion", passed, "as a test wants it", gap or {}),)
    return Decision(challenger, checks, now["judged"] if now else None, users=users)


def promote(
    settings: Settings,
    digest: str,
    clock: Clock,
    goes_on_from: str | None = None,
    gap: dict[str, float] | None = None,
    judged: str | None = None,
) -> dict[str, Any]:
    """Make the bundles and promote; the pointer."""
    for bundle in {digest, judged or digest}:
        make(settings, bundle, goes_on_from)
    return registry.promote(settings, digest, clock, decided(settings, judged or digest, gap=gap), judged=judged)
