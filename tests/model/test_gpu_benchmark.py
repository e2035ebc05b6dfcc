"""benchmarks/gpu.py runs wherever torch does: here small, on the CPU."""

import json

from benchmarks import gpu


def test_it_runs_small_and_measures_every_case_against_the_limits(capsys):
    gpu.main(["--small"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    limits = figures["limits"]
    assert min(*limits["matmul_flops"].values(), limits["memory_bytes_a_second"]) > 0
    assert {row["precision"] for row in figures["text_tower"]} == {"float32", "bfloat16"}
    cases = {(row["precision"], row["softmax"]) for row in figures["sequence_model"]}
    assert len(cases) == 4
    rows = figures["text_tower"] + figures["sequence_model"]
    assert all(row["tokens_a_second"] > 0 and row["mfu"] > 0 for row in rows)
    # A CPU without bfloat16 multiplies it by emulation, slower in one product than in another: no limit holds there.
    assert all(row["mfu"] < 1.5 for row in rows if row["precision"] == "float32")
