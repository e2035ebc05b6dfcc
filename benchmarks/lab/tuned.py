"""Settings by dataset, protocol and model, all chosen on validation windows.

Where a study was made (`zhiyin tune`), its file holds them with its figures; the others stand here, chosen by hand
(`zhiyin benchmark --validation`).
"""

from pathlib import Path
from typing import Any

from training.evaluation.gate import WHOLE
from zhiyin.store import read_json

STUDIES = Path(__file__).parent / "studies"  # <dataset>/<protocol>/<model>.json

NETWORK = f"{WHOLE}_network"  # the whole with a torch ranker in place of the trees

GROCERY_FACTORS = {"factors": 128, "confidence": 1, "ridge": 30}
FREQUENCY = {"short_weight": 0.5, "count_weight": 0.1}
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "complete_journey/next_days_all": {
        "personal_frequency": FREQUENCY,
        "ease": {"counted": True},
        "ials": GROCERY_FACTORS,
        "zhiyin": {
            "generators": {
                "personal_frequency": FREQUENCY,
                "ease": {"quota": 60},
                "interest": {},
                "item_knn": {"quota": 40, "decay": 0.8},
                "kind_demand": {"quota": 30},
                "popularity": {"quota": 40},
            },
            "questions": 6,
            "refit": True,
            "negatives": 0.3,
            "ranker": {"trees": 250},
        },
    },
    "complete_journey/next_days_new": {
        "item_knn": {"itself": False, "decay": 0.8},
        "ials": GROCERY_FACTORS,
        "zhiyin": {
            "generators": {
                "ease": {"quota": 150},
                "interest": {"quota": 150},
                "item_knn": {"quota": 100, "decay": 0.8, "itself": False},
                "kind_demand": {"quota": 100},
                "popularity": {"quota": 100},
                "text_neighbours": {},
            },
            "questions": 5,
            "refit": True,
            "negatives": 0.2,
        },
    },
    "movielens_100k/leave_one_out": {
        "ease": {"ridge": 500, "decay": 0.95},
        "item_knn": {"decay": 0.85},
        "ials": {"decay": 0.9},
        "tifu_knn": {"group": 10, "inside": 1.0, "between": 0.9, "own": 0.5, "neighbours": 100},
        "text_neighbours": {"decay": 0.9},
        "zhiyin": {
            "generators": {
                "ease": {"ridge": 500, "decay": 0.92, "quota": 100},
                "interest": {"quota": 100},
                "item_knn": {"decay": 0.85},
                "last_item": {"model": "item_knn", "decay": 0.4, "quota": 30},
                "ials": {"decay": 0.9, "quota": 40},
                "text_neighbours": {"decay": 0.9, "quota": 10},
                "popularity": {"quota": 20},
            },
            "questions": 6,
            "refit": False,
            "ranker": {"trees": 200, "num_leaves": 15, "min_data_in_leaf": 250, "learning_rate": 0.05},
        },
    },
    "movielens_100k/cold_items": {
        # A ranker of earlier draws lost to the generator alone on the validation draws: .289 against .298.
        "zhiyin": {"generators": {"content": {}}, "questions": 0},
    },
}


def tuned(dataset: str, protocol: str, model: str) -> dict[str, Any]:
    """What differs from a model's defaults; nothing for a dataset that was never tuned."""
    model = WHOLE if model == NETWORK else model  # its generators are those of the whole
    study = STUDIES / dataset / protocol / f"{model}.json"
    if study.is_file():
        return dict(read_json(study)["settings"])
    return dict(TUNED.get(f"{dataset}/{protocol}", {}).get(model, {}))
