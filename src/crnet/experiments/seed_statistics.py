"""Mean and standard deviation of a metric over the seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crnet.utils.number_format import decimal


def mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (n - 1), or None instead of the latter for a single seed."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def mean_sd_json(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean and standard deviation as results.json holds them."""
    mean, sd = mean_and_sd(values)
    return {"mean": mean, "sd": sd}


def mean_sd_text(values: Sequence[float]) -> str:
    """Return mean and standard deviation as the tables print them: ".9188 ±.0012"."""
    return decimal(*mean_and_sd(values))
