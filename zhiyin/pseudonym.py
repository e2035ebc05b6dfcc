"""Keyed-hash pseudonyms of user ids: staging and the service use the same function."""

import hashlib
import hmac
import os
import secrets
import unicodedata
from pathlib import Path

from zhiyin.settings import Settings
from zhiyin.store import atomic_file, encryption, sync, temporary
from zhiyin.store.keys import KEY_BYTES, read_key

CHECK = "pseudonym_key.check"  # beside a lake: tells whether a key is the one with which its users were named


def load_key(settings: Settings) -> bytes:
    """The secret key (32 bytes), made on first use where nothing has landed yet.

    Raises:
        ValueError: the key is missing though something has landed, is no key, can be read by other users of the
            machine, or is not the one with which the dataset's users were named. The message names the cure.
    """
    encryption.check(settings)
    path = settings.pseudonym_key
    if next_key(settings).exists():
        raise ValueError(f"{next_key(settings)}: a change of the key broke off; complete it by `zhiyin key rotate`")
    if not path.exists():
        landed = sorted(folder.parent.parent for folder in settings.home.glob("*/lake/*/_landed.json"))
        if landed:
            raise ValueError(
                f"{path} is missing, but {landed[0]} was landed with it: put the key back from your backup. Without it "
                "nobody is known and who was forgotten would return; to begin anew without it, remove "
                f"{settings.home} and land again"
            )
        keep_key(path, new_key())
    key = read_key(path)
    check = settings.data / CHECK
    if not check.is_file():
        if settings.lake.is_dir():
            write_check(settings, key)
    elif not hmac.compare_digest(check.read_text().strip(), _check_value(key)):
        raise ValueError(
            f"{path} is not the key with which the users of {settings.dataset} were named ({check} tells): put that "
            "key back from your backup"
        )
    return key


def next_key(settings: Settings) -> Path:
    """Where a new key lies while the data is renamed to it."""
    return settings.pseudonym_key.with_name(f"{settings.pseudonym_key.name}.next")


def write_check(settings: Settings, key: bytes) -> None:
    """Write down beside the lake which key its users are named with."""
    with atomic_file(settings.data / CHECK) as made:
        made.write_text(_check_value(key) + "\n")


def _check_value(key: bytes) -> str:
    return hmac.new(key, b"which key", hashlib.sha256).hexdigest()


def new_key() -> bytes:
    """A key that nobody has."""
    return secrets.token_bytes(KEY_BYTES)


def keep_key(path: Path, key: bytes) -> None:
    """Write a key for its owner's eyes alone, unless another process was first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(temporary(path.name))
    made.touch(0o600)
    made.chmod(0o600)
    made.write_text(key.hex())
    sync(made)
    try:
        os.link(made, path)  # fails when another process made the key first: then its key is used
    except FileExistsError:
        pass
    finally:
        made.unlink()
    sync(path.parent)


def clean(user_id: str) -> str:
    """A normalised user id: Unicode NFC, no blanks at the ends, single blanks inside."""
    return " ".join(unicodedata.normalize("NFC", user_id).split())


def pseudonymise(key: bytes, user_id: str) -> str:
    """HMAC-SHA-256 of the clean user id, the first 128 bits in hexadecimal (RFC 2104)."""
    return hmac.new(key, clean(user_id).encode(), hashlib.sha256).hexdigest()[:32]
