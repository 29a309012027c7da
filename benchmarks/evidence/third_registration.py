"""The third registration: a weaker signal for F3, whose positive control in the second one did not come out present.

It was committed before its own runs. Its seeds start at 200.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.evidence.registration import CLAIMS

THIRD_SEEDS = {"streams-3": range(200, 212)}

THIRD_CLAIMS = (
    replace(
        next(claim for claim in CLAIMS if claim.name == "F3"),
        name="F3''",
        experiment="streams-3",
        control="weak, memorised",
        null="weak, memorised elsewhere",
        others=(),
    ),
)
