"""Monitoring: reports of data quality, feature drift and ranking quality, once per run; and the audit of sentences.

``report`` writes the reports of an ``as_of`` as HTML, with a page that links to them, and stores them in the Evidently
workspace (``evidently ui --workspace``), which shows the runs over time.
"""

import os

# Evidently reads it before each usage report: nothing leaves this machine.
os.environ.setdefault("DO_NOT_TRACK", "1")

from monitoring.review import report

__all__ = ["report"]
