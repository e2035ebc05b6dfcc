"""The gate's rules: every margin and limit, once, with the reason for its value."""

from dataclasses import dataclass
from typing import Self

from zhiyin.settings import Settings


@dataclass(frozen=True)
class GateRules:
    """Margins are shares of the figure that the challenger is held against. docs/running.md says how to choose them."""

    # Non-inferiority: the lower end of the 95 % interval of the paired difference in NDCG@10 must not pass it. On 1,700
    # users two close models differ by +-.004 of .35: an equal challenger passes 2 % (.007) nine times in ten, one that
    # lost 2 % once in forty.
    margin: float = 0.02
    # The reference is of the last eight weeks: an older one has missed a season.
    reference_days: int = 56
    # With fewer users, two close models differ by +-.009 and more: more than the margin, so that nothing can be told.
    least_users: int = 200
    # Without a champion there is nothing to serve instead: with fewer users, whose intervals are as wide as what a good
    # model gains (500 households: +-.009 of .01), the first one need beat the baselines by the mean alone.
    first_by_interval: int = 500
    # Of the users on whom the champion was evaluated when it was promoted. Where half of them are missing, data is.
    users_share: float = 0.5
    # A slice of so many users must not have lost more than this share for certain: by the upper end of intervals that
    # hold for all slices at once. A guard against harm to some users, and no alarm at noise in one of a dozen slices.
    slice_users: int = 100
    slice_margin: float = 0.05
    # Expected calibration error of listed items, in probability: this much always passes (500 households have .050, of
    # which the sampling of 2,500 rows is .02), and so does what is within `worse` of the champion's.
    calibration_error: float = 0.05
    calibration_worse: float = 0.03
    # Without a champion there is nothing to serve instead: the first may have twice that.
    calibration_error_first: float = 0.10
    # Of the champion's catalogue coverage, so that accuracy is not bought with lists of bestsellers.
    coverage_share: float = 0.8

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rules with the margin of the settings."""
        return cls(margin=settings.gate_margin)
