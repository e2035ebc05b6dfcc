"""Zhiyin: from a raw behaviour log and a catalogue to a live, explained, personalised recommender."""

__version__ = "0.1.0"
