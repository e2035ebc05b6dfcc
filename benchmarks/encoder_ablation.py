"""Ablation of the interest encoder: its text, its softmax and its size.

    python -m benchmarks.encoder_ablation [--dataset NAME | --folder FOLDER] [--seeds 1] [--minutes 2] [--ways WAY ...]

Scored on the validation part: each user's last event but one, fitted on what is before it (MovieLens 100K, a folder),
or the 14 days from 2017-11-17 (Complete Journey). ``--test`` evaluates the default alone, on the last event or the days
from 2017-12-01. NDCG@10 with its 95 % bootstrap interval; the ratio is that to the default, of the same run.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import finish, say
from benchmarks.encoder_data import complete_journey, evaluate_model, movielens, order_alone, text_vectors
from training.evaluation.metrics import bootstrap_means, interval
from training.interest.train_encoder import LoopConfig, train_encoder
from zhiyin.recommender.candidates import Context
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig
from zhiyin.recommender.state.catalogue import Catalogue
from zhiyin.settings import get_settings

DEFAULT = "default"
WAYS: dict[str, tuple[EncoderConfig, LoopConfig]] = {
    DEFAULT: (EncoderConfig(), LoopConfig()),
    "no text": (EncoderConfig(), LoopConfig()),
    "sampled softmax": (EncoderConfig(), LoopConfig(whole_catalogue=0, negatives=1024)),
    "bfloat16": (EncoderConfig(), LoopConfig(precision="bfloat16")),
    "width 128": (EncoderConfig(width=128, hidden=256), LoopConfig()),
    "one layer": (EncoderConfig(layers=1), LoopConfig()),
    "three layers": (EncoderConfig(layers=3), LoopConfig()),
    "length 128": (EncoderConfig(length=128), LoopConfig()),
    "length 512": (EncoderConfig(length=512), LoopConfig()),
    "dropout 0.1": (EncoderConfig(), LoopConfig(dropout=0.1)),
    "dropout 0.2": (EncoderConfig(), LoopConfig(dropout=0.2)),
    "dropout 0.3": (EncoderConfig(), LoopConfig(dropout=0.3)),
    "every item has an id": (EncoderConfig(), LoopConfig(least_events=1)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=("movielens_100k", "complete_journey"), default="movielens_100k")
    parser.add_argument("--folder", type=Path, help="instead: a log that knows an order only (see encoder_data)")
    parser.add_argument("--minutes", type=float, default=LoopConfig.minutes, help="CPU minutes of a fit, at most")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--test", action="store_true")
    parser.add_argument(
        "--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="some of them; the default always"
    )
    arguments = parser.parse_args()
    settings = get_settings()
    if arguments.folder:
        task = order_alone(arguments.folder, held_out=1 if arguments.test else 2)
    elif arguments.dataset == "movielens_100k":
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
            context = Context(catalogue, known, seed, settings.threads)
            encoder = train_encoder(task.history, context, config, replace(loop, minutes=arguments.minutes))
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
