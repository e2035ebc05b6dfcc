"""Law 2 and law 9: an artefact is written whole or not at all, and a damaged one is refused."""

import json
import os
import signal
import subprocess
import sys

import pytest

from zhiyin.store import HOST, atomic_file, atomic_folder, read_json, sweep, verify_manifest, write_json, write_manifest


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "table.json"
    write_json(path, {"version": 1})
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text('{"version": 2')
        raise RuntimeError("power cut")
    assert read_json(path) == {"version": 1}
    assert [child.name for child in tmp_path.iterdir()] == ["table.json"]


def test_a_folder_that_fails_half_way_is_not_there(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "bundle") as temporary:
        (temporary / "weights").write_text("half")
        raise RuntimeError("power cut")
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys, time
from pathlib import Path
from zhiyin.store import atomic_file, atomic_folder
home = Path(sys.argv[1])
with atomic_folder(home / "bundle") as folder, atomic_file(home / "pointer") as pointer:
    (folder / "rows").write_text("123")
    pointer.write_text("4")
    print("ready", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    (tmp_path / "table.parquet").write_text("published")
    (tmp_path / ".landing-abc").mkdir()  # of an earlier version
    (tmp_path / ".landing-abc" / "part-0.parquet").write_text("56")
    elsewhere = tmp_path / f".tmp-{'0' * 8 if HOST != '0' * 8 else '1' * 8}-1-rows-x"
    elsewhere.write_text("7")
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"ready\n"
        assert sweep(tmp_path) == (1, 2)
        assert len(list(tmp_path.glob(f".tmp-{HOST}-{writer.pid}-*"))) == 2
        writer.send_signal(signal.SIGKILL)
    assert sweep(tmp_path) == (2, 4)
    assert {path.name for path in tmp_path.iterdir()} == {"table.parquet", elsewhere.name}
    os.utime(elsewhere, (0, 0))
    assert sweep(tmp_path) == (1, 1)


def test_a_published_folder_is_never_rewritten(tmp_path):
    for content in ("first", "second"):
        with atomic_folder(tmp_path / "bundle") as temporary:
            (temporary / "weights").write_text(content)
    assert (tmp_path / "bundle" / "weights").read_text() == "first"


def test_the_digest_tells_contents_and_names_apart(tmp_path):
    digests = set()
    for folder, (name, content) in {"a": ("x", "1"), "b": ("y", "1"), "c": ("x", "2"), "d": ("x", "1")}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(content)
        digests.add(write_manifest(tmp_path / folder)["digest"])
    assert len(digests) == 3


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_folder_is_refused_by_the_file_s_name(tmp_path, damage):
    (tmp_path / "weights").write_text("content")
    write_manifest(tmp_path)
    verify_manifest(tmp_path)
    if damage == "changed":
        (tmp_path / "weights").write_text("other")
    else:
        (tmp_path / "weights").unlink()
    with pytest.raises(ValueError, match="weights"):
        verify_manifest(tmp_path)


def test_a_manifest_is_plain_json(tmp_path):
    (tmp_path / "weights").write_text("content")
    write_manifest(tmp_path, as_of="2017-12-01")
    assert json.loads((tmp_path / "manifest.json").read_text())["as_of"] == "2017-12-01"
