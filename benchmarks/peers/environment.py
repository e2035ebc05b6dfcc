"""The environment of the peers (``make peers``), whose pins conflict with ours."""

import os
import sys
from pathlib import Path


class PeersMissingError(ValueError):
    """The peers' environment is not there, or lacks a package."""


def peers_folder() -> Path:
    """The environment that ``make peers`` makes, or that ``PEERS`` names."""
    return Path(os.environ.get("PEERS", Path(sys.prefix) / "peers"))


def peer_python(package: str) -> str:
    """Its Python.

    Raises:
        PeersMissingError: it is not there, or has no ``package``.
    """
    folder = peers_folder()
    if not any(folder.glob(f"lib/python*/site-packages/{package.replace('-', '_')}-*.dist-info")):
        raise PeersMissingError(f"{package} is not in {folder}; `make peers` installs it")
    return str(folder / "bin/python")


def require_peer(package: str) -> str:
    """Its Python; where it is missing the process ends with one clear line."""
    try:
        return peer_python(package)
    except PeersMissingError as missing:
        raise SystemExit(str(missing)) from None
