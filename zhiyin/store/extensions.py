"""DuckDB's extensions, from installed packages where there are some, else as DuckDB installs them."""

import importlib.util
from pathlib import Path

import duckdb

SUFFIX = ".duckdb_extension"
PACKAGED_MAJOR = 1  # the last DuckDB whose extensions come as packages (Makefile, sources)


def load_extension(connection: duckdb.DuckDBPyConnection, extension: str, needed_by: str) -> None:
    """Load an extension on a connection.

    ``needed_by`` begins the message.

    Raises:
        FileNotFoundError: no package carries it for this DuckDB, it is not installed, and it cannot be downloaded; the
            message names the package to install, or says that none fits.
    """
    packaged = _packaged(extension)
    try:
        if packaged is not None:
            connection.execute(f"load '{packaged}'")
        else:
            connection.execute(f"install {extension}")
            connection.execute(f"load {extension}")
    except duckdb.Error:
        raise FileNotFoundError(
            f"{needed_by}: DuckDB's extension {extension} is needed, and is neither installed nor can be downloaded; "
            f"{_cure(extension)}run `INSTALL {extension}` once with DuckDB {duckdb.__version__} where the internet is "
            "reached and copy ~/.duckdb/extensions, or export the table to Parquet"
        ) from None


def _cure(extension: str) -> str:
    """The package to install, where there is one for this DuckDB."""
    package = _packages(extension)[-1].replace("_", "-")
    if int(duckdb.__version__.partition(".")[0]) > PACKAGED_MAJOR:
        return f"{package}, the package of it, ends with DuckDB {PACKAGED_MAJOR}, and this is {duckdb.__version__}: "
    return f"install the package {package}=={duckdb.__version__}, "


def _packages(extension: str) -> tuple[str, str]:
    """The packages that may carry an extension: named as DuckDB calls it, or as its readers of databases are called."""
    name = extension if extension == "httpfs" else f"{extension}_scanner"
    return f"duckdb_extension_{extension}", f"duckdb_extension_{name}"


def _packaged(extension: str) -> Path | None:
    """The extension's file in an installed package; an extension fits the DuckDB that it was built for only."""
    for package in _packages(extension):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for file in sorted(Path(folder).glob(f"extensions/v{duckdb.__version__}/*{SUFFIX}")):
                return file
    return None
