"""The environment of the peers (``make peers``): their own pins do not go with ours."""

from training.evaluation import rectools
from training.evaluation.rectools import PeersMissingError


def peer_python(package: str) -> str:
    """Its Python; one clear line where it is not there or lacks ``package``."""
    try:
        return rectools.peer_python(package)
    except PeersMissingError as missing:
        raise SystemExit(str(missing)) from None
