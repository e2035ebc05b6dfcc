"""What the gate says of a challenger: one check a question, and the answer of all of them."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Check:
    """One question of the gate: whether the challenger passed it, in words, and the figures that decided."""

    name: str
    passed: bool
    words: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """All checks of one challenger. Digests are those of judged bundles; ``users``: how many it was judged on."""

    challenger: str
    checks: tuple[Check, ...]
    champion: str | None = None
    reference: str | None = None
    users: int = 0

    @property
    def promote(self) -> bool:
        """Whether every check passed; a decision without checks promotes nothing."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        return [check.words for check in self.checks]

    @property
    def refusals(self) -> list[str]:
        """The words of the checks that were not passed."""
        return [check.words for check in self.checks if not check.passed]

    def figures_of(self, name: str) -> dict[str, float] | None:
        """The figures of the check of that name; None where it was not asked."""
        return next((check.figures for check in self.checks if check.name == name), None)

    def record(self) -> dict[str, Any]:
        """As JSON, the answer first."""
        answer = {"promote": self.promote, "reasons": self.reasons, "refusals": self.refusals}
        return answer | asdict(self)

    @classmethod
    def read(cls, record: dict[str, Any]) -> Self:
        """From ``record``.

        Raises:
            ValueError: an earlier version wrote it, without checks.
        """
        if "checks" not in record:
            raise ValueError("the decision was written by an earlier version: run the step gate again")
        checks = tuple(Check(**check) for check in record["checks"])
        return cls(record["challenger"], checks, record["champion"], record["reference"], record["users"])
