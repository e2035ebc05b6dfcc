"""How the recommender is judged: splits by time, metrics, the leaderboard, and the gate before a promotion."""

from training.evaluation.gate import Decision, gate
from training.evaluation.leaderboard import evaluate

__all__ = ["Decision", "evaluate", "gate"]
