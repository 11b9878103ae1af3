"""The forward of a training step through torch.compile; what is stored stays the plain network.

Only `Compute.compile` asks for it, which only the probe sets, on CUDA. What fails goes on uncompiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from comp.models.compute import GRAPHS, Compute
from comp.models.extras import Outputs
from comp.models.segmenter import Segmenter

BACKEND = "inductor"  # tests take `eager`, which needs no C++ compiler


class CompiledOutputs:
    """`Segmenter.outputs` compiled. The network, its weights and their names are not touched.

    Args:
        mode: of torch.compile.
    """

    def __init__(self, segmenter: Segmenter, mode: str) -> None:
        # The caches belong to the code, not to the network: after 8 folds torch would give up in silence.
        torch.compiler.reset()
        self.segmenter, self.mode = segmenter, mode
        self.seen: dict[str, Any] = {}
        self.on = False
        # Stay for good: hooks that come and go within a call break the graph.
        self.hooks = [
            segmenter.net.get_submodule(name).register_forward_hook(self._keep(name))
            for name in segmenter.watched_names
        ]
        self.compiled: Callable[[Tensor], Outputs] = torch.compile(
            self._outputs, backend=BACKEND, mode=mode, dynamic=False
        )

    def _keep(self, name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            if self.on:
                self.seen[name] = output

        return hook

    def _outputs(self, x: Tensor) -> Outputs:
        return self.segmenter.with_extras(self.segmenter(x), x, self.seen)

    def __call__(self, x: Tensor) -> Outputs:
        if self.mode == GRAPHS:  # what the last step gave may be overwritten from here on
            torch.compiler.cudagraph_mark_step_begin()
        self.on = True
        try:
            return self.compiled(x)
        finally:
            self.on = False
            self.seen.clear()

    def close(self) -> None:
        """Free graphs and their memory."""
        for hook in self.hooks:
            hook.remove()
        torch.compiler.reset()


class Forward:
    """The forward of a training step: compiled where `compute` says so, until that fails.

    Attributes:
        failed: why the last call failed, in one line; `give_up` clears it.
    """

    def __init__(self, segmenter: Segmenter, compute: Compute) -> None:
        self.segmenter = segmenter
        self.mode = compute.compile
        self.failed = ""
        self._compiled: CompiledOutputs | None = None

    def __call__(self, x: Tensor) -> Outputs:
        if not self.mode:
            return self.segmenter.outputs(x)
        if self._compiled is None:
            self._compiled = CompiledOutputs(self.segmenter, self.mode)
        return self._compiled(x)

    def give_up(self, say: Callable[[str], None]) -> None:
        """Go on uncompiled; to be called outside the `except`, whose traceback holds tensors."""
        self.mode = ""
        if self._compiled is not None:
            self._compiled.close()
        self._compiled = None
        say(f"torch.compile failed: {self.failed}; not compiled from here on")
        self.failed = ""
