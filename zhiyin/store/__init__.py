"""Artefacts on disk (``artefacts``), and DuckDB over files (``sql``)."""

from zhiyin.store.artefacts import (
    HOST,
    MANIFEST,
    atomic_file,
    atomic_folder,
    file_digest,
    json_digest,
    publish_by_digest,
    read_json,
    sweep,
    sync,
    temporary,
    verify_manifest,
    write_arrays,
    write_json,
    write_manifest,
)

__all__ = [
    "HOST",
    "MANIFEST",
    "atomic_file",
    "atomic_folder",
    "file_digest",
    "json_digest",
    "publish_by_digest",
    "read_json",
    "sweep",
    "sync",
    "temporary",
    "verify_manifest",
    "write_arrays",
    "write_json",
    "write_manifest",
]
