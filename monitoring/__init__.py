"""Monitoring: what changed in the data, what drifted in the features, and how good the lists were, once a run.

``report`` writes the reports of an ``as_of`` as HTML, with a page that leads to them, and keeps them in the Evidently
workspace (``evidently ui --workspace``), where the runs line up over time.
"""

import os

# Evidently reads it whenever it has something to tell; nothing leaves this machine.
os.environ.setdefault("DO_NOT_TRACK", "1")

from monitoring.review import report

__all__ = ["report"]
