"""The ranker's features: how they are computed (``compute``), and what each is called (``registry``)."""

from zhiyin.recommender.features.compute import Candidates, Pairs, Scored, propose, users_at_once

__all__ = ["Candidates", "Pairs", "Scored", "propose", "users_at_once"]
