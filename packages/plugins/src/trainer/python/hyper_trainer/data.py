"""One rank's share of the data, as token ids in memory, and the order in which it is seen.

Slots may be uneven. Every rank makes the same number of steps an epoch: as many as the fullest rank needs
(ceil(examples / (batchSize * gradientAccumulation)), largest over the ranks). A rank with fewer examples goes round its own
permutation again: position p of an epoch is `order[p mod examples]`. So each example is seen at least once an epoch, and the
order is a pure function of (seed, epoch, slot): a resumed run continues at its step without any other state.
"""
import random
from dataclasses import dataclass

from .config import Config, Slot
from .encode import Example, encode
from .errors import TrainerError
from .lease import open_segments
from .rows import rows_of


@dataclass
class SlotData:
    slot: int
    train: "list[Example]"
    held_out: "list[Example]"
    rows: int
    """rows longer than the sequence length, with nothing to learn left within it"""
    skipped: int


def load_slot(config: Config, slot: Slot, token: str, tokenizer, vocabulary: int) -> SlotData:
    """Opens, parses and encodes the slot's segments. Whole rows are held out for evaluation, chosen by (seed, slot)."""
    rows: "list[list[Example]]" = []
    count = skipped = 0
    for segment, plaintext in open_segments(config.leaseSocket, token, slot):
        found = 0
        for place, row in rows_of(plaintext, config.format, segment.index):
            examples = encode(tokenizer, row, config.format, config.sequenceLength, vocabulary, place)
            found += 1
            skipped += not examples
            if examples:
                rows.append(examples)
        if found != segment.rows:
            raise TrainerError(f"segment {segment.index}: has {found} rows, expected {segment.rows}")
        count += found
    if count and not rows:
        raise TrainerError(f"slot {slot.slot}: none of its {count} rows has a token to learn within sequenceLength {config.sequenceLength}; raise sequenceLength")
    held = set(random.Random(f"hold out/{config.seed}/{slot.slot}").sample(range(len(rows)), int(len(rows) * config.evalFraction)))
    return SlotData(
        slot.slot,
        [example for number, examples in enumerate(rows) if number not in held for example in examples],
        [example for number, examples in enumerate(rows) if number in held for example in examples],
        count,
        skipped,
    )


class Order:
    """Which examples a rank sees at a step (counted from 0)."""

    def __init__(self, seed: int, slot: int, examples: int, steps_per_epoch: int, per_step: int) -> None:
        self.seed, self.slot, self.examples, self.steps_per_epoch, self.per_step = seed, slot, examples, steps_per_epoch, per_step
        self._epoch, self._order = -1, []

    def at(self, step: int) -> "list[int]":
        """Indices of the step's examples, all micro-batches after one another; [] for a slot without examples."""
        if not self.examples:
            return []
        epoch, within = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = list(range(self.examples))
            random.Random(f"order/{self.seed}/{epoch}/{self.slot}").shuffle(self._order)
            self._epoch = epoch
        first = within * self.per_step
        return [self._order[position % self.examples] for position in range(first, first + self.per_step)]
