"""One rank, started by torchrun (see launch.py): `python -m hyper_trainer.train <job>/config.json`."""
import os
import sys
import time
from pathlib import Path

from . import config as configuration
from .errors import FATAL_STATUS, EveryRankError, TrainerError
from .privacy import die_with, seal_process
from .telemetry import emit


def train(config: configuration.Config, rank: int) -> None:
    import torch

    from . import checkpoint, durable, export, model as models, sync
    from .data import load_slot
    from .loop import Loop
    from .recipe import recipe_digest, total_steps
    from .tokens import token_of

    models.make_deterministic()
    device = models.choose_device(config, int(os.environ["LOCAL_RANK"]))
    tokenizer = models.load_tokenizer(config.model, config.format)
    model = models.load_base(config.model, torch.bfloat16 if device.type == "cuda" and config.method == "lora" else torch.float32)
    stored = models.stored_dtype(config.model)
    if config.lora is not None:
        model = models.add_adapter(model, config.lora, config.seed)
    model.to(device)
    data = load_slot(config, config.slots[rank], token_of(rank), tokenizer, model.get_input_embeddings().weight.shape[0])
    if data.skipped:
        print(f"slot {rank}: {data.skipped} of {data.rows} rows have nothing to learn within sequenceLength {config.sequenceLength} and are left out", flush=True)

    sync.join(device)
    per_step = config.batchSize * config.gradientAccumulation
    steps_per_epoch = sync.largest(-(-len(data.train) // per_step))
    if steps_per_epoch == 0:
        raise EveryRankError("no row to train on: the data set is empty, or evalFraction holds all of it out")
    total = total_steps(config, steps_per_epoch)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    loop = Loop(config, model, pad, data, device, rank, steps_per_epoch, total)

    directory, recipe = Path(config.checkpointDirectory), recipe_digest(config)
    if rank == 0:
        durable.sweep(directory)
    start = sync.from_rank_zero(checkpoint.latest(directory) if rank == 0 else 0)
    torch.manual_seed(config.seed * 1_000_003 + rank)
    state = checkpoint.State(recipe=recipe, worldSize=config.worldSize)
    if start:
        state = checkpoint.read_state(directory, start)
        if state.recipe != recipe:
            raise EveryRankError(f"{directory}: its checkpoints come from other options, data or world size; give this training an empty checkpointDirectory")
        sync.restore_rng(checkpoint.load(directory, start, model, loop.optimizer, rank), device)
    if rank == 0:
        emit(0, "phase", state.step, totalSteps=total, text="resumed" if start else "training")
        print(f"{'resumed at' if start else 'training from'} step {state.step} of {total} on {models.device_class(device)}, {config.worldSize} ranks", flush=True)
    loop.run(state)
    if rank == 0:
        result = export.export(config, model, stored, models.device_class(device))
        emit(0, "phase", total, totalSteps=total, text="done")
        print(f"done: {result['steps']} steps, loss {result['firstLoss']:.4f} to {result['lastLoss']:.4f}", flush=True)
    sync.leave()


def main() -> None:
    die_with(int(os.environ["HYPER_LAUNCHER"]))
    seal_process()
    try:
        train(configuration.load(sys.argv[1]), int(os.environ["RANK"]))
    except TrainerError as error:
        if isinstance(error, EveryRankError) and os.environ["RANK"] != "0":
            time.sleep(10)  # torchrun ends this rank as soon as rank 0 has spoken
            os._exit(FATAL_STATUS)
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # at once: the other ranks must not see this one's sockets close before it has ended
        os._exit(FATAL_STATUS)
    except RuntimeError as error:
        # the transport's own words are many lines; which rank ended, and how, torchrun's agent says
        if not any(word in str(error) for word in ("gloo/transport", "NCCL", "Connection closed by peer")):
            raise
        print(f"rank {os.environ['RANK']}: lost contact with another rank", file=sys.stderr, flush=True)
        os._exit(1)


if __name__ == "__main__":
    main()
