"""Ablation of the interest encoder: each of its inputs, and the softmax over the full catalogue.

    python -m benchmarks.encoder_ablation [--dataset NAME] [--seeds 1] [--test] [--ways WAY ...]

Scored on the validation part: each user's last event but one, fitted on what is before it (MovieLens 100K), or the 14
days from 2017-11-17 (Complete Journey). ``--test`` evaluates the default alone, on the last event or the days from
2017-12-01. NDCG@10 with its 95 % bootstrap interval; the ratio is that to the default, of the same run.
"""

import argparse
import time
from typing import Any

import numpy as np

from benchmarks import finish, say
from benchmarks.encoder_data import complete_journey, evaluate_model, movielens, text_vectors
from training.evaluation.metrics import bootstrap_means, interval
from training.interest.train_encoder import LoopConfig, train_encoder
from zhiyin.recommender.candidates import Context
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig
from zhiyin.recommender.state.catalogue import Catalogue
from zhiyin.settings import get_settings

DEFAULT = "default"
WAYS: dict[str, tuple[EncoderConfig, LoopConfig]] = {
    DEFAULT: (EncoderConfig(), LoopConfig()),
    "no time between events": (EncoderConfig(time="none"), LoopConfig()),
    "no distance in baskets": (EncoderConfig(places="none"), LoopConfig()),
    "neither": (EncoderConfig(time="none", places="none"), LoopConfig()),
    "both as tables of log buckets": (EncoderConfig(time="buckets", places="buckets"), LoopConfig()),
    "no text": (EncoderConfig(), LoopConfig()),
    "trainable text": (EncoderConfig(trainable_text=True), LoopConfig()),
    "sampled softmax": (EncoderConfig(), LoopConfig(whole_catalogue=0, negatives=1024)),
    "bfloat16": (EncoderConfig(), LoopConfig(precision="bfloat16")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=("movielens_100k", "complete_journey"), default="movielens_100k")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--test", action="store_true")
    parser.add_argument(
        "--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="some of them; the default always"
    )
    arguments = parser.parse_args()
    settings = get_settings()
    if arguments.dataset == "movielens_100k":
        task = movielens(held_out=1 if arguments.test else 2)
    else:
        task = complete_journey("2017-12-01" if arguments.test else "2017-11-17")
    text = text_vectors(task, settings)
    nothing: Any = None
    catalogue: Catalogue = nothing  # unused by the loop
    rows: dict[str, dict[str, Any]] = {}
    for way, (config, loop) in WAYS.items():
        if way != DEFAULT and (arguments.test or way not in arguments.ways):
            continue
        values, cpu = [], time.process_time()
        for seed in range(arguments.seeds):
            known = text * 0 if way == "no text" else text
            encoder = train_encoder(task.history, Context(catalogue, known, seed, settings.threads), config, loop)
            values.append(evaluate_model(task, encoder))
        mean = np.mean(values, axis=0)
        low, high = interval(bootstrap_means(mean[:, None]))
        rows[way] = {
            "ndcg": round(float(mean.mean()), 4),
            "interval": [round(float(low[0]), 4), round(float(high[0]), 4)],
            "ratio_to_default": round(float(mean.mean()) / rows[DEFAULT]["ndcg"], 3) if rows else 1.0,
            "cpu_seconds": round((time.process_time() - cpu) / arguments.seeds, 1),
        }
        say(f"{way}: {rows[way]}")
    facts = {"dataset": task.name, "part": "test" if arguments.test else "validation", "seeds": arguments.seeds}
    finish("encoder_ablation", facts | {"users": len(np.unique(task.user)), "ways": rows})


if __name__ == "__main__":
    main()
