"""Train on two CPU processes and write down what each of them saw and ended with: config.json, folder."""

import sys
from pathlib import Path
from typing import Any

import torch

from vqspeech.nn import vq_ema
from vqspeech.training import loop
from vqspeech.training.config import read_config

config, folder = read_config(sys.argv[1]), Path(sys.argv[2])
start, step, revivals = loop.start, loop._step, vq_ema.revivals
states: list[Any] = []
batches: list[torch.Tensor] = []
revived: list[int] = []


def remember_state(*args: Any) -> Any:
    states.append(start(*args))
    return states[-1]


def remember_batch(*args: Any) -> Any:
    batches.append(args[4].pcm.clone())
    return step(*args)


def remember_revivals(*args: Any) -> Any:
    dead, replacements = revivals(*args)
    revived.append(len(dead))
    return dead, replacements


loop.start, loop._step, vq_ema.revivals = remember_state, remember_batch, remember_revivals
loop.train(config)
(state,) = states
rank = torch.distributed.get_rank()
content = {
    "objective": state.objective.state_dict(),
    "average": state.average.state_dict(),
    "samples": state.samples,
    "batches": batches,
    "revived": revived,
}
torch.save(content, folder / f"rank{rank}.pt")
