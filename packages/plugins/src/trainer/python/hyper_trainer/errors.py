"""How the trainer fails: one sentence on standard error, an exit status that says whether trying again can help."""

# 65 (EX_DATAERR): the same input would fail again, so torchrun must not restart the ranks
FATAL_STATUS = 65


class TrainerError(Exception):
    """Wrong input or a state that a restart does not cure. The message names the place and the remedy, and never holds a data row."""


class EveryRankError(TrainerError):
    """Found by all ranks at the same step: rank 0 says it for all."""
