"""A training step's forward and backward pass: compiled as a whole where possible, else eager."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import nn


class CompileTimeoutError(Exception):
    """Compilation exceeded its time limit."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `CompileTimeoutError` in the body after some seconds: in the main thread only, once native code returns."""

    def expired(_: int, __: FrameType | None) -> None:
        raise CompileTimeoutError(f"not done after {seconds:.0f} s (run.compile_s)")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Differentiated:
    """Loss and gradient of a batch.

    Parameters
    ----------
    module : Module
        Returns a named tuple whose first entry, or attribute ``total``, is the loss.
    context : callable
        Makes the context of the forward pass, as ``fabric.autocast``.
    compile : bool
        Compile forward and backward pass as one graph each. When the first pass of a kind fails or exceeds the limit, a
        line reports it and all further passes are eager.
    limit_s : float
        Seconds that the first pass of a kind may take.
    """

    def __init__(
        self, module: nn.Module, context: Callable[[], Any], compile: bool, limit_s: float
    ) -> None:
        self.module, self.context, self.limit_s = module, context, limit_s
        self.compiled: Any = None
        if compile:
            self.compiled = torch.compile(module, fullgraph=True, dynamic=False)
        self._proven: set[tuple[Any, ...]] = set()

    def __call__(self, reseed: Callable[[], None], batch: Any, *kind: Any) -> Any:
        """Compute the loss of a batch and leave its gradient in the weights, which have none before.

        `reseed` seeds the generators of the step; `kind`, further plain arguments of the module, selects the graph.
        """
        reseed()
        if self.compiled is None:
            return self._pass(self.module, batch, kind)
        key = (type(batch), tuple(part.shape for part in batch), kind)
        if key in self._proven:
            return self._pass(self.compiled, batch, kind)
        try:
            with time_limit(self.limit_s):
                losses = self._pass(self.compiled, batch, kind)
        except Exception as error:
            cause = error.__cause__ if isinstance(error.__cause__, CompileTimeoutError) else error
            reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:200]
            print(f"run.compile: {reason}; going on without", file=sys.stderr, flush=True)
            self.compiled = None
            torch.compiler.reset()
            for weight in self.module.parameters():
                weight.grad = None
            reseed()
            return self._pass(self.module, batch, kind)
        self._proven.add(key)
        return losses

    def _pass(self, module: Any, batch: Any, kind: tuple[Any, ...]) -> Any:
        with self.context():
            losses = module(batch, *kind)
        loss = losses if isinstance(losses, torch.Tensor) else losses.total
        loss.backward()
        return losses
