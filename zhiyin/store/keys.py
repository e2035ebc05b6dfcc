"""Secret keys: 32 bytes as hexadecimal digits, for their owner's eyes alone."""

from pathlib import Path

KEY_BYTES = 32


def parse_key(text: str, where: str) -> bytes:
    """A key from its digits; ``where`` begins the message.

    Raises:
        ValueError: it is no key.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(
            f"{where} holds no key: {2 * KEY_BYTES} hexadecimal digits are needed; put the key back from your backup"
        )
    return key


def read_key(path: Path) -> bytes:
    """The key in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no key, or others can read it.
    """
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ValueError(f"{path} can be read by other users of this machine (mode {mode:04o}): chmod 600 {path}")
    return parse_key(path.read_text(), str(path))
