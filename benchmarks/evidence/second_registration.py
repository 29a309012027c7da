"""The second registration: controls and worlds that the results of the first one asked for.

It was committed after the results of the first registration and before any of its own runs. Its seeds start at 100, so
no run shares people, clips, networks or trees with one of the first registration.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.evidence.heads import FEW, MLP_SLOW
from benchmarks.evidence.registration import CLAIMS, RegisteredClaim

FIRST_SEED = 100
SECOND_SEEDS = {
    "heads-2": range(FIRST_SEED, FIRST_SEED + 10),
    "streams-2": range(FIRST_SEED, FIRST_SEED + 8),
    "regressors-2": range(FIRST_SEED, FIRST_SEED + 10),
}


def _again(
    name: str, control: str, null: str = "", others: tuple[str, ...] = (), text: str = "", worse: str = ""
) -> RegisteredClaim:
    """Return a claim of the first registration with other worlds; the name gets a prime."""
    claim = next(claim for claim in CLAIMS if claim.name == name)
    return replace(
        claim,
        name=f"{name}'",
        text=text or claim.text,
        experiment=f"{claim.experiment}-2",
        control=control,
        null=null,
        others=others,
        worse=worse or claim.worse,
    )


_FEW = f"classwise, {FEW} clips"
_NOISY = f"classwise, fivalike, {FEW} clips"
_LARGE = "7:5:3 fits, k = 1,000"

SECOND_CLAIMS: tuple[RegisteredClaim, ...] = (
    _again("C4", "classwise", "linear", worse=MLP_SLOW),
    _again("C5", _FEW, f"linear, {FEW} clips"),
    _again("C6", "", _NOISY),
    _again("C7", _FEW, f"linear, {FEW} clips"),
    _again("F1", _LARGE),
    _again("F2", "", _LARGE),
    _again("F3", "memorised", "memorised elsewhere"),
    _again("F4", "memorised", "memorised elsewhere"),
    _again("T2", "copies", "two values, silent", ("two values",)),
    _again("T3", "two values", "steps", ("copies",)),
    _again("T4", _LARGE, text="choosing features at random helps on features of trained streams, summed"),
)
"""Systems, outcomes and smallest effects of interest are those of the first registration, but for the MLP of C4'."""
