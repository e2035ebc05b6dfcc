"""Settings of the rows of the tables, all chosen on validation splits: of our own recommender by the dataset's recipe.

A generator alone has the settings of the recipe that holds it; a peer, and a generator of no recipe, those of its study
(``zhiyin tune``), or those chosen by hand that stand here.
"""

from pathlib import Path
from typing import Any

from training.evaluation.gate import WHOLE
from zhiyin.recommender.recipe import Recipe
from zhiyin.store import read_json

STUDIES = Path(__file__).parent / "studies"  # <dataset>/<protocol>/<model>.json

GROCERY_FACTORS = {"factors": 128, "confidence": 1, "ridge": 30}
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "complete_journey/next_days_all": {
        "personal_frequency": {"short_weight": 0.5, "count_weight": 0.1},
        "item_to_item": {"counted": True},
        "ials": GROCERY_FACTORS,
    },
    "complete_journey/next_days_new": {
        "item_knn": {"itself": False, "decay": 0.8},
        "ials": GROCERY_FACTORS,
    },
    "movielens_100k/leave_one_out": {
        "item_to_item": {"ridge": 500, "decay": 0.95},
        "tifu_knn": {"group": 10, "inside": 1.0, "between": 0.9, "own": 0.5, "neighbours": 100},
        "text_neighbours": {"decay": 0.9},
    },
}


def tuned(recipe: Recipe, dataset: str, protocol: str, model: str) -> dict[str, Any]:
    """What differs from a model's defaults when it stands alone; nothing for the whole, whose recipe says it."""
    if model == WHOLE:
        return {}
    study = STUDIES / dataset / protocol / f"{model}.json"
    if study.is_file():
        return dict(read_json(study)["settings"])
    by_hand = TUNED.get(f"{dataset}/{protocol}", {}).get(model)
    if by_hand is not None:
        return dict(by_hand)
    return recipe.generators[model].settings if model in recipe.generators else {}
