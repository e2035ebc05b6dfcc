"""The environment of the peers (``make peers``): their own pins do not go with ours."""

import os
import subprocess
import sys
from pathlib import Path

PEERS = Path(os.environ.get("PEERS", Path(sys.prefix) / "peers"))


def peer_python(package: str) -> str:
    """Its Python; one clear line where it is not there or lacks ``package``."""
    python = PEERS / "bin/python"
    if not python.exists() or subprocess.run([python, "-m", "pip", "show", "-q", package], check=False).returncode:
        raise SystemExit(f"{package} is not in {PEERS}; `make peers` installs it")
    return str(python)
