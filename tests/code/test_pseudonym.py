"""Law 11: a pseudonym needs the key, the key is the owner's alone, and no other takes its place unseen."""

import hashlib
import hmac
import stat

import pytest

from zhiyin.pseudonym import CHECK, load_key, pseudonymise
from zhiyin.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def landed(settings):
    """The same home after something has landed."""
    (settings.lake / "transactions").mkdir(parents=True)
    (settings.lake / "transactions" / "_landed.json").write_text("{}")
    return settings


def test_the_key_is_made_once_and_kept_private(settings):
    key = load_key(settings)
    assert load_key(settings) == key
    assert len(key) == 32
    assert stat.S_IMODE(settings.pseudonym_key.stat().st_mode) == 0o600


def test_no_key_is_made_where_something_has_landed(settings):
    load_key(settings)
    landed(settings)
    key = load_key(settings)
    settings.pseudonym_key.unlink()
    for dataset in ("complete_journey", "movielens_100k"):  # all datasets of a home share the key
        with pytest.raises(ValueError, match=r"is missing, but .*backup"):
            load_key(settings.model_copy(update={"dataset": dataset}))
    assert not settings.pseudonym_key.exists()
    assert len(key) == 32


@pytest.mark.parametrize("content", ["", "00" * 31, "no key", "00" * 33])
def test_what_is_no_key_is_refused(settings, content):
    load_key(settings)
    settings.pseudonym_key.write_text(content)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        load_key(settings)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_key_that_others_can_read_is_refused(settings, mode):
    load_key(settings)
    settings.pseudonym_key.chmod(mode)
    with pytest.raises(ValueError, match="chmod 600"):
        load_key(settings)


def test_another_key_than_that_of_the_lake_is_refused(settings):
    load_key(settings)
    assert not (settings.data / CHECK).exists()
    landed(settings)
    load_key(settings)
    settings.pseudonym_key.write_text("ab" * 32)
    with pytest.raises(ValueError, match="is not the key with which the users of complete_journey were named"):
        load_key(settings)


def test_a_pseudonym_is_the_keyed_hash_and_differs_by_key():
    expected = hmac.new(b"k" * 32, b"1024", hashlib.sha256).hexdigest()
    assert expected.startswith(pseudonymise(b"k" * 32, "1024"))
    assert len(pseudonymise(b"k" * 32, "1024")) == 32
    assert pseudonymise(b"j" * 32, "1024") != pseudonymise(b"k" * 32, "1024")
