"""The training loop of one rank. All ranks step together; rank 0 reports and saves."""
import contextlib
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as functional

from . import checkpoint, sync
from .config import Config
from .data import Order, SlotData
from .encode import IGNORED, Example, collate
from .errors import EveryRankError
from .model import trainable
from .recipe import learning_rate
from .telemetry import Meter, StepLines, emit

FIRST, LAST = 5, 10  # steps whose losses are averaged into firstLoss and lastLoss


def mean(values: "list[float]") -> "float | None":
    return sum(values) / len(values) if values else None


class Loop:
    def __init__(self, config: Config, model, pad: int, data: SlotData, device: torch.device, rank: int, steps_per_epoch: int, total: int) -> None:
        self.config, self.model, self.pad, self.data, self.device, self.rank = config, model, pad, data, device, rank
        self.steps_per_epoch, self.total = steps_per_epoch, total
        self.parameters = list(trainable(model).values())
        decayed = [p for p in self.parameters if p.dim() > 1]
        plain = [p for p in self.parameters if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": config.weightDecay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learningRate)
        self.order = Order(config.seed, data.slot, len(data.train), steps_per_epoch, config.batchSize * config.gradientAccumulation)
        self.add_up = sync.GradientSum(self.parameters)
        self.meter, self.lines = Meter(rank), StepLines()
        self.directory = Path(config.checkpointDirectory)

    def _loss(self, examples: "list[Example]") -> "tuple[torch.Tensor, int, int]":
        """Sum of the losses of the batch's labelled tokens, their number, and the number of input tokens."""
        batch = collate(examples, self.pad)
        counted, tokens = int((batch["labels"][:, 1:] != IGNORED).sum()), int(batch["attention_mask"].sum())
        batch = {name: value.to(self.device) for name, value in batch.items()}
        precision = torch.autocast("cuda", dtype=torch.bfloat16) if self.device.type == "cuda" else contextlib.nullcontext()
        with precision:
            logits = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        flat = logits[:, :-1].float().reshape(-1, logits.shape[-1])
        return functional.cross_entropy(flat, batch["labels"][:, 1:].reshape(-1), ignore_index=IGNORED, reduction="sum"), counted, tokens

    def _step(self, step: int, state: checkpoint.State) -> "tuple[float, float, float, int]":
        """One update. Loss and gradient are means over the labelled tokens of all ranks, however these are spread."""
        indices = self.order.at(step)
        size = self.config.batchSize
        busy = time.perf_counter()
        loss_sum, counted, tokens = 0.0, 0, 0
        for first in range(0, len(indices), size):
            loss, labelled, seen = self._loss([self.data.train[index] for index in indices[first : first + size]])
            loss.backward()
            loss_sum, counted, tokens = loss_sum + loss.item(), counted + labelled, tokens + seen
        worked = time.perf_counter() - busy
        all_loss, all_counted, all_tokens = sync.total([loss_sum, counted, tokens])
        self.add_up()
        # waiting for other ranks is not work
        busy = time.perf_counter()
        for parameter in self.parameters:
            parameter.grad /= all_counted
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.gradClip or math.inf))
        loss = all_loss / all_counted
        if not math.isfinite(loss) or not math.isfinite(norm):
            kept = checkpoint.steps(self.directory)
            last = f"the last good checkpoint is that of step {kept[-1]}" if kept else "there is no checkpoint yet"
            raise EveryRankError(f"step {step + 1}: the loss is not a finite number; {last}. Lower learningRate, or raise warmupSteps")
        rate = learning_rate(self.config, step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.meter.add(tokens, worked + time.perf_counter() - busy)
        state.tokens += int(all_tokens)
        return loss, norm, rate, int(all_tokens)

    def evaluate(self) -> "float | None":
        """Mean loss over the held-out rows of all ranks; None where there are none. Takes no random number."""
        self.model.eval()
        busy, loss_sum, counted = time.perf_counter(), 0.0, 0
        with torch.no_grad():
            for first in range(0, len(self.data.held_out), self.config.batchSize):
                loss, labelled, _ = self._loss(self.data.held_out[first : first + self.config.batchSize])
                loss_sum, counted = loss_sum + loss.item(), counted + labelled
        self.meter.add(0, time.perf_counter() - busy)
        self.model.train()
        loss_sum, counted = sync.total([loss_sum, counted])
        return loss_sum / counted if counted else None

    def _save(self, state: checkpoint.State) -> None:
        rng = sync.rng_states(self.device)
        if rng is not None:
            emit(0, "phase", state.step, text="saving")
            target = checkpoint.save(self.directory, self.model, self.optimizer, rng, state, self.config.keepCheckpoints)
            emit(0, "checkpoint", state.step, epoch=state.epoch, loss=state.loss, evalLoss=state.evalLoss, text=target.name)

    def run(self, state: checkpoint.State) -> checkpoint.State:
        """From `state.step` to the last step; saves every `checkpointEvery` steps and at the end."""
        config = self.config
        self.model.train()
        clock = time.monotonic()
        for step in range(state.step, self.total):
            loss, norm, rate, tokens = self._step(step, state)
            state.step, state.epoch, state.evalLoss = step + 1, round((step + 1) / self.steps_per_epoch, 4), None
            if len(state.firstLosses) < FIRST:
                state.firstLosses.append(loss)
            state.lastLosses = [*state.lastLosses, loss][-LAST:]
            state.loss = mean(state.lastLosses)
            if self.rank == 0:
                self.lines.step(state.step, self.total, tokens, epoch=state.epoch, loss=loss, learningRate=rate, gradNorm=norm)
            saving = state.step % config.checkpointEvery == 0 or state.step == self.total
            if saving or (config.evalEvery is not None and state.step % config.evalEvery == 0):
                state.evalLoss = self.evaluate() if config.evalFraction else None
                if self.rank == 0 and state.evalLoss is not None:
                    emit(0, "eval", state.step, totalSteps=self.total, epoch=state.epoch, evalLoss=state.evalLoss)
            if saving:
                now = time.monotonic()
                state.seconds, clock = state.seconds + now - clock, now
                self._save(state)
            self.meter.flush(state.step)
        self.meter.flush(state.step, force=True)
        return state
