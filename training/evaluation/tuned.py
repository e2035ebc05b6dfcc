"""Settings by dataset, protocol and model, each chosen on the validation window (`zhiyin benchmark --validation`)."""

from typing import Any

TUNED: dict[str, dict[str, dict[str, Any]]] = {}


def tuned(dataset: str, protocol: str, model: str) -> dict[str, Any]:
    """What differs from a model's defaults; nothing for a dataset that was never tuned."""
    return dict(TUNED.get(f"{dataset}/{protocol}", {}).get(model, {}))
