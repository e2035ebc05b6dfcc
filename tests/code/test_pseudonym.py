"""Law 11: a pseudonym needs the key, and the key is the owner's alone."""

import hashlib
import hmac
import stat

from zhiyin.pseudonym import load_key, pseudonymise


def test_the_key_is_made_once_and_kept_private(tmp_path):
    path = tmp_path / "secrets" / "pseudonym.key"
    key = load_key(path)
    assert load_key(path) == key
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_pseudonym_is_the_keyed_hash_and_differs_by_key():
    expected = hmac.new(b"k" * 32, b"1024", hashlib.sha256).hexdigest()
    assert expected.startswith(pseudonymise(b"k" * 32, "1024"))
    assert len(pseudonymise(b"k" * 32, "1024")) == 32
    assert pseudonymise(b"j" * 32, "1024") != pseudonymise(b"k" * 32, "1024")
