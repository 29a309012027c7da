"""Test the paper's claims about Bell, the CR-block, fusion and trees where their effects can be seen (an hour).

Cues and features are drawn without pictures; heads, losses, stages, fusion and trees are those of the package. The
claims, the smallest effects of interest, the seeds and the rule of the verdicts were registered before the runs:
docs/registration.md. OUT gets one record for each run and a table of verdicts. Rerunning the command resumes it.
"""

from benchmarks.evidence.command import add_arguments, measure

__all__ = ["add_arguments", "measure"]
