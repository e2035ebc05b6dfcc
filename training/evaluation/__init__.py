"""Evaluation of the recommender: splits by time, metrics, the leaderboard, and the gate before a promotion."""

from training.evaluation.gate import gate
from training.evaluation.gate_rules import GateRules
from training.evaluation.leaderboard import evaluate

__all__ = ["GateRules", "evaluate", "gate"]
