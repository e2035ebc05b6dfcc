"""Encryption at rest: who knows the key, and what each kind of file does with it. Off where no key is set.

The key comes from the environment of the process: ``ZHIYIN_ENCRYPTION_KEY``, a file or a command. Of it follow one for
Parquet (modular encryption, AES-GCM with 256 bits), one for DuckDB's files and one for single values (AES-GCM).

DuckDB writes encrypted files with OpenSSL, which its extension httpfs brings. Without the extension it reads them, and
refuses to write: its built-in module draws nonces from a generator that is no cryptographic one. ``builtin`` of
``ZHIYIN_ENCRYPTION_MODULE`` accepts that.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import shlex
import subprocess
from functools import cache, lru_cache
from pathlib import Path

import duckdb

from zhiyin.settings import Settings, get_settings
from zhiyin.store.artefacts import atomic_file
from zhiyin.store.extensions import load_extension
from zhiyin.store.keys import parse_key, read_key

CHECK = "encryption.check"  # beside a lake: which key its files are encrypted with
NAME = "zhiyin"  # of the key on a DuckDB connection
NONCE_BYTES = 12

# Reads Parquet with the key wherever a query says ``read_parquet``; ``system.main.read_parquet`` reads plain files.
_READER = f"""
    create or replace temp macro read_parquet(
        files, hive_partitioning := true, union_by_name := false, filename := false
    ) as table from system.main.read_parquet(
        files,
        hive_partitioning := hive_partitioning,
        union_by_name := union_by_name,
        filename := filename,
        encryption_config := {{footer_key: '{NAME}'}}
    )
"""
PLAIN_READER = "system.main.read_parquet"


class LockedError(ValueError):
    """The files are encrypted, and the key is missing or another one; or they are not, and a key is set."""


def is_on() -> bool:
    return any(_set())


def _set() -> tuple[str | None, ...]:
    """The settings of the key as they are now; those who ask are many, and reading all settings is slow."""
    return tuple(os.environ.get(f"ZHIYIN_ENCRYPTION_KEY{kind}") for kind in ("", "_FILE", "_COMMAND"))


def secret() -> bytes | None:
    """The key; None: encryption is off.

    Raises:
        ValueError: more than one is set, or the one that is set is no key.
        FileNotFoundError: the file of the key is missing.
    """
    settings = get_settings()
    given = [settings.encryption_key, settings.encryption_key_file, settings.encryption_key_command]
    if len([one for one in given if one]) > 1:
        raise ValueError("set one of ZHIYIN_ENCRYPTION_KEY, ZHIYIN_ENCRYPTION_KEY_FILE, ZHIYIN_ENCRYPTION_KEY_COMMAND")
    if settings.encryption_key:
        return parse_key(settings.encryption_key, "ZHIYIN_ENCRYPTION_KEY")
    if settings.encryption_key_file:
        if not settings.encryption_key_file.is_file():
            raise FileNotFoundError(f"{settings.encryption_key_file}: ZHIYIN_ENCRYPTION_KEY_FILE names no file")
        return read_key(settings.encryption_key_file)
    return _from_command(settings.encryption_key_command) if settings.encryption_key_command else None


def _from_command(command: str) -> bytes:
    done = subprocess.run(shlex.split(command), capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(
            f"ZHIYIN_ENCRYPTION_KEY_COMMAND ended with code {done.returncode}: {done.stderr.strip()[:200]}"
        )
    return parse_key(done.stdout, "the answer of ZHIYIN_ENCRYPTION_KEY_COMMAND")


def _derived(purpose: str) -> bytes | None:
    return _derive(_set(), purpose) if is_on() else None


@lru_cache
def _derive(given: tuple[str | None, ...], purpose: str) -> bytes | None:
    """A process asks for the key once: a vault answers slowly."""
    key = secret()
    return None if key is None else hmac.new(key, purpose.encode(), hashlib.sha256).digest()


def check(settings: Settings) -> None:
    """Compare the key with the one of the dataset's files.

    Raises:
        LockedError: the dataset is encrypted with another key, or the key is missing; or it was landed without one.
    """
    path, value = settings.data / CHECK, _derived("which key")
    if value is None:
        if path.is_file():
            raise LockedError(
                f"{settings.data} is encrypted, and no key is set: set ZHIYIN_ENCRYPTION_KEY, "
                "ZHIYIN_ENCRYPTION_KEY_FILE or ZHIYIN_ENCRYPTION_KEY_COMMAND"
            )
        return
    if not path.is_file():
        if any(settings.lake.glob("*/_landed.json")):
            raise LockedError(
                f"{settings.data} was landed without encryption: unset the key, or land into a new ZHIYIN_HOME with it"
            )
    elif not hmac.compare_digest(path.read_text().strip(), value.hex()):
        raise LockedError(f"the encryption key that is set is not the one of {settings.data} ({path} tells)")


def write_check(settings: Settings) -> None:
    """Write down, before the first row lands, with which key the dataset is encrypted."""
    check(settings)
    path, value = settings.data / CHECK, _derived("which key")
    if value is not None and not path.is_file():
        with atomic_file(path) as made:
            made.write_text(value.hex() + "\n")


def check_writes() -> None:
    """Raise FileNotFoundError where DuckDB could not write encrypted files; the message has the cure."""
    if is_on() and get_settings().encryption_module == "openssl":
        _load_openssl()


@cache
def _load_openssl() -> None:
    with duckdb.connect() as connection:
        try:
            load_extension(connection, "httpfs", "encryption at rest")
        except FileNotFoundError as missing:
            raise FileNotFoundError(
                f"{missing}. ZHIYIN_ENCRYPTION_MODULE=builtin goes without, with nonces that are no secure random ones"
            ) from None


def unlock(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a connection the key: ``read_parquet`` then reads encrypted files, and no others."""
    key = parquet_key()
    if key is None:
        return
    if get_settings().encryption_module == "builtin":
        connection.execute("set force_mbedtls_unsafe = 'true'")
    else:
        with contextlib.suppress(FileNotFoundError):  # it reads without; ``check_writes`` refuses steps, which write
            load_extension(connection, "httpfs", "encryption at rest")
    connection.execute(f"pragma add_parquet_key('{NAME}', '{key}')")
    unlock_cursor(connection)


def unlock_cursor(cursor: duckdb.DuckDBPyConnection) -> None:
    """The same for a cursor of a connection that has the key."""
    if is_on():
        cursor.execute(_READER)


def parquet_key() -> str | None:
    """As DuckDB takes it: 32 characters (which hold 192 random bits) are a key of 256 bits."""
    key = _derived("parquet")
    return None if key is None else base64.urlsafe_b64encode(key[:24]).decode()


def writing() -> str:
    """Further options of ``copy ... (format parquet, ...)``."""
    return f", encryption_config {{footer_key: '{NAME}'}}" if is_on() else ""


def attaching(read_only: bool) -> str:
    """Options of ``attach`` for a DuckDB file."""
    key = _derived("duckdb")
    options = ["read_only"] * read_only + ([f"encryption_key '{key.hex()}'"] if key else [])
    return f" ({', '.join(options)})" if options else ""


def is_encrypted(path: Path) -> bool:
    """Whether a Parquet file is encrypted."""
    with path.open("rb") as file:
        return file.read(4) == b"PARE"


def seal(value: bytes, about: bytes) -> bytes:
    """Encrypt one value; ``about`` (its place) is authenticated with it, so that values cannot change places."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # who lands has no need of it

    key = _derived("values")
    assert key is not None, "sealed without a key"
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, value, about)


def unseal(sealed: bytes, about: bytes) -> bytes:
    """The value that was sealed.

    Raises:
        LockedError: with another key, or it is no sealed value.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = _derived("values")
    assert key is not None, "unsealed without a key"
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
    except InvalidTag:
        raise LockedError("a value is not encrypted with the key that is set") from None
