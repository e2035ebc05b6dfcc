"""The learning rate of a run of known length."""

import math


def one_cycle(share: float, rise: float = 0.1, low: float = 0.04) -> float:
    """Factor of the learning rate once a ``share`` of the steps is done: up to 1, then down, by half cosines."""
    climb, fall = share / rise, (share - rise) / (1 - rise)
    if share < rise:
        return low + (1 - low) * (1 - math.cos(math.pi * climb)) / 2
    return (1 + math.cos(math.pi * min(fall, 1.0))) / 2
