"""The feature store (Feast): views derived from the dbt manifest, read point in time and online.

Order of a run: ``apply``, ``materialize``, ``read_offline``, ``verify_parity``. Serving needs ``OnlineStates`` alone.
Feast 0.67 sends no usage statistics; there is nothing to switch off.
"""

from feature_repo.live_sessions import Sessions
from feature_repo.materialization import materialize
from feature_repo.offline import read_offline
from feature_repo.online import OnlineStates, OnlineStoreError
from feature_repo.parity import ParityError, verify_parity
from feature_repo.registration import apply

__all__ = [
    "OnlineStates",
    "OnlineStoreError",
    "ParityError",
    "Sessions",
    "apply",
    "materialize",
    "read_offline",
    "verify_parity",
]
