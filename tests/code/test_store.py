"""Law 2 and law 9: an artefact is written whole or not at all, and a damaged one is refused."""

import json

import pytest

from zhiyin.store import atomic_file, atomic_folder, read_json, verify_manifest, write_json, write_manifest


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
