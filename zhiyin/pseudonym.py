"""Keyed-hash pseudonyms of user ids: staging and the service use the same function."""

import hashlib
import hmac
import os
import secrets
import unicodedata
from pathlib import Path


def load_key(path: Path) -> bytes:
    """The secret key, made on first use (32 random bytes, readable by the owner alone)."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(secrets.token_hex(32))
        temporary.chmod(0o600)
        try:
            os.link(temporary, path)  # fails when another process made the key first: then its key is used
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return bytes.fromhex(path.read_text())


def clean(user_id: str) -> str:
    """A normalised user id: Unicode NFC, no blanks at the ends, single blanks inside."""
    return " ".join(unicodedata.normalize("NFC", user_id).split())


def pseudonymise(key: bytes, user_id: str) -> str:
    """HMAC-SHA-256 of the clean user id, the first 128 bits in hexadecimal (RFC 2104)."""
    return hmac.new(key, clean(user_id).encode(), hashlib.sha256).hexdigest()[:32]
