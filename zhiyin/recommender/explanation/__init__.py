"""Why an item is in a list: the facts that raised its score, each of which a user can check (law 6)."""

from zhiyin.recommender.explanation.facts import Evidence, gather_evidence, weigh_evidence

__all__ = ["Evidence", "gather_evidence", "weigh_evidence"]
