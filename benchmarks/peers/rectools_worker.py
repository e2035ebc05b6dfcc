"""RecTools' transformers, in the environment that ``make peers`` makes: a script that needs nothing of ours.

    python rectools_worker.py FOLDER

FOLDER holds ``options.json`` (``model``: sasrec or hstu, ``seed``, ``threads``, ``epochs`` and arguments of the model),
``log.parquet`` (user, item, at; a user's events in order) and ``users.parquet`` (user, at: whom to score, and when). It
gets ``scores.parquet`` (user, item, score: all items of the log, users of the split). A JSON line on stdout reports
each epoch and each batch of scores.
"""

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

USERS_AT_ONCE = 256


def tell(step: str, done: float, note: str) -> None:
    print(json.dumps([step, done, note]), flush=True)


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch
    from pytorch_lightning import Callback, Trainer, seed_everything
    from rectools.dataset import Dataset
    from rectools.models import HSTUModel, SASRecModel

    options: dict[str, Any] = json.loads((folder / "options.json").read_text())
    kind, seed, epochs = options.pop("model"), options.pop("seed"), options.pop("epochs")
    torch.set_num_threads(options.pop("threads"))
    seed_everything(seed, verbose=False)

    class Watch(Callback):  # type: ignore[misc, unused-ignore]
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            loss = float(trainer.callback_metrics.get("train_loss", float("nan")))
            tell("epochs", (trainer.current_epoch + 1) / epochs, f"epoch {trainer.current_epoch + 1}, loss {loss:.3f}")

    def trainer() -> Any:
        return Trainer(
            max_epochs=epochs,
            min_epochs=epochs,
            accelerator="cpu",
            deterministic=True,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Watch()],
        )

    log = pq.read_table(folder / "log.parquet").to_pandas()
    users = pq.read_table(folder / "users.parquet").to_pandas()

    def named(frame: pd.DataFrame) -> pd.DataFrame:
        moments = pd.to_datetime(frame["at"], unit="s")
        return frame.rename(columns={"user": "user_id", "item": "item_id"}).assign(datetime=moments, weight=1.0)

    dataset = Dataset.construct(named(log).drop(columns="at"))
    model = {"sasrec": SASRecModel, "hstu": HSTUModel}[kind](get_trainer_func=trainer, **options)
    model.fit(dataset)

    known = users[users["user"].isin(log["user"].unique())]
    schema = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("score", pa.float32())])
    with pq.ParquetWriter(folder / "scores.parquet", schema) as scores:
        for start in range(0, len(known), USERS_AT_ONCE):
            some = known.iloc[start : start + USERS_AT_ONCE]
            found = model.recommend(
                users=some["user"].to_numpy(),
                dataset=dataset,
                k=log["item"].nunique(),
                filter_viewed=False,
                context=named(some).drop(columns="at") if model.require_recommend_context else None,
                on_unsupported_targets="ignore",
            )
            columns = {"user": found["user_id"], "item": found["item_id"], "score": found["score"]}
            scores.write_table(pa.table(columns).cast(schema))
            tell("score", min((start + USERS_AT_ONCE) / len(known), 1.0), f"{start + len(some):,} users")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
