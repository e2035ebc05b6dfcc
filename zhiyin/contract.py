"""Names of the data contract: what every dataset provides, and the marts that Python code reads.

The dbt project defines and describes the columns; this file has only the names that Python code uses.
"""

from collections.abc import Collection
from typing import Final

EVENT_TYPES: Final = ("view", "search", "click", "cart", "purchase", "rating")
PURCHASE: Final = "purchase"  # money and pieces are counted of these
BY_CHOICE: Final = (PURCHASE, "rating")


def taken_types(log: Collection[str]) -> tuple[str, ...]:
    """The types by which a user takes an item, of those that a log has; the same as dbt's macro of this name."""
    return tuple(kind for kind in BY_CHOICE if kind in log) or tuple(sorted(log))


# Marts (see dbt_project/models/marts for columns and meanings; their YAML says that they are published).
INTERACTIONS: Final = "interactions"  # one row per event
QUARANTINED_EVENTS: Final = "quarantined_events"  # one row per event that was set aside
ITEMS: Final = "items"  # one row per item
USERS: Final = "users"  # one row per user
ITEM_HISTORY: Final = "item_history"  # item x moment of change
USER_HISTORY: Final = "user_history"  # user x moment of change
USER_ACTIVITY: Final = "user_activity"  # user x moment of change
ITEM_ACTIVITY: Final = "item_activity"  # item x moment of change
USER_CATEGORY_AFFINITY: Final = "user_category_affinity"  # user x snapshot, parallel arrays
USER_ITEM_REPEATS: Final = "user_item_repeats"  # user x snapshot, parallel arrays
USER_OFFERS: Final = "user_offers"  # user x moment of change
USER_SEQUENCES: Final = "user_sequences"  # user x snapshot, parallel arrays

# Columns with one name everywhere.
USER_ID: Final = "user_id"  # a pseudonym from staging on
ITEM_ID: Final = "item_id"
FEATURE_AT: Final = "feature_at"  # the moment from which a feature row is true (UTC)
OCCURRED_AT: Final = "occurred_at"

# An item can be a candidate once the log holds this many interactions with it.
MIN_ITEM_INTERACTIONS: Final = 10

# The ranker is trained on this many label windows (docs/lab/ranker.md says why); they start a week apart.
LABEL_WINDOWS: Final = 3
