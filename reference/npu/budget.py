"""Holds latency estimates against the limit of a track."""

from collections.abc import Sequence

from reference.npu.latency import Estimate

WITHIN, UNCLEAR, OVER = "likely within", "unclear", "likely over"


def judge(low: float, high: float, budget: float | None) -> str:
    """What an interval says of the limit, all in milliseconds; `-` where there is no limit."""
    if budget is None:
        return "-"
    return WITHIN if high <= budget else OVER if low > budget else UNCLEAR


def add_up(estimates: Sequence[Estimate]) -> tuple[float, float, float] | None:
    """Estimate and interval of all parts one after the other; None where one has no estimate.

    The ends are added too, as errors of parts on one device go together.
    """
    sums = [0.0, 0.0, 0.0]
    for estimate in estimates:
        found = (estimate.milliseconds, estimate.low, estimate.high)
        for index, value in enumerate(found):
            if value is None:
                return None
            sums[index] += value
    return sums[0], sums[1], sums[2]
