"""What a network computes on an example, as a graph of ATen's operators without side effects."""

from __future__ import annotations

import copy
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from asq_hw.errors import InputError
from asq_hw.train.checkpoints.soundness import check_state
from asq_hw.train.graph.results import mapped, named

__all__ = ["Capture", "capture", "evaluated_copy", "first_result", "makes_nothing", "user_sources"]

_LIBRARIES = (os.path.dirname(torch.__file__), os.path.dirname(os.path.abspath(__file__)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A network's graph.

    Parameters
    ----------
    graph : torch.fx.Graph
        Calls of ATen's operators, none of which writes into what it is given.
    constants : dict of torch.fx.Node to Tensor
        The placeholders that stand for parameters, buffers and other tensors of the network.
    names : dict of torch.fx.Node to str
        The same placeholders' names in the network's state dict.
    image : torch.fx.Node
        The placeholder of the input.
    returned : object
        What the network returns: one node, or tuples, lists and dicts of nodes and None.
    results : dict of str to torch.fx.Node
        The same nodes by name.
    """

    graph: fx.Graph
    constants: dict[fx.Node, Tensor]
    names: dict[fx.Node, str]
    image: fx.Node
    returned: Any
    results: dict[str, fx.Node]


def capture(model: nn.Module, example: Tensor) -> Capture:
    """Record what a network computes.

    Parameters
    ----------
    model : nn.Module
        In the mode in which it is read; what it computes with may change.
    example : Tensor of shape (N, C, H, W)
        Images as the network takes them, at least two.

    Raises
    ------
    InputError
        If the network fails on the example, decides by the values of its input, or returns what
        is no tensor.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad(), _quiet():
            warnings.simplefilter("ignore")  # of torch's own making
            program = torch.export.export(model, (example,), strict=False)
            program = program.run_decompositions({})
    except Exception as error:  # the network's own code ran, and can raise anything
        raise InputError(_cannot_be_traced(model, error)) from error
    return _read(program)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from printing what fails, and its graphs: it is told in one line."""
    before, said = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(said):
            yield
    finally:
        logging.disable(before)
    sys.stderr.write(said.getvalue())  # by the network's own code, for nothing failed


def evaluated_copy(model: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode.

    Raises
    ------
    InputError
        If it is no module, has no parameters, or cannot be copied; or if some of its tensors have
        no values, or are not finite where every network's must be.
    """
    name = type(model).__name__
    if not isinstance(model, nn.Module):
        raise InputError(f"a network must be a torch.nn.Module, not {name}")
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"{name} is compiled by TorchScript; give the module it was made of")
    if next(model.parameters(), None) is None:
        raise InputError(f"{name} has no parameters: nothing can be quantized")
    while isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer):
            raise InputError(f"{path} has no shape yet; run {name} once before it is given here")
        if tensor.is_meta:
            raise InputError(f"{path} holds no values (it is on the meta device)")
    check_state(dict(model.named_parameters()))
    check_state({path: b for path, b in model.named_buffers() if ".running_" in f".{path}"})
    # Older weight norm keeps computed weights, which torch does not copy.
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor)
    }
    try:
        return copy.deepcopy(model, computed).eval()
    except Exception as error:
        raise InputError(f"{name} cannot be copied: {_first_line(error)}") from error


def _cannot_be_traced(model: nn.Module, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((*_LIBRARIES, "<"))]
    place = f" ({os.path.basename(own[-1].filename)}:{own[-1].lineno})" if own else ""
    reason = _first_line(error)
    if "data-dependent" in reason or "GuardOnDataDependent" in type(error).__name__:
        reason = "it decides by the values of its input, which an integer network cannot"
    return f"{type(model).__name__}{place} cannot be traced: {reason}"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _read(program: ExportedProgram) -> Capture:
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    constants: dict[fx.Node, Tensor] = {}
    names: dict[fx.Node, str] = {}
    images = []
    for spec in program.graph_signature.input_specs:
        node = placeholders[spec.arg.name]
        if spec.kind is InputKind.USER_INPUT:
            images.append(node)
        else:
            assert spec.target is not None
            constants[node] = _stored(program, spec.target)
            names[node] = spec.target
    returned = _returned(program)
    return Capture(
        graph=program.graph,
        constants=constants,
        names=names,
        image=images[0],
        returned=returned,
        results=named(returned),
    )


def _stored(program: ExportedProgram, name: str) -> Tensor:
    value = program.state_dict[name] if name in program.state_dict else program.constants[name]
    if not isinstance(value, Tensor):
        raise InputError(f"{name}: {type(value).__name__} has no integer form")
    return value.detach()


def _returned(program: ExportedProgram) -> Any:
    """What the network returns, with the nodes that compute it."""
    output = next(node for node in program.graph.nodes if node.op == "output")
    specs = program.graph_signature.output_specs
    values = [
        value
        for value, spec in zip(output.args[0], specs, strict=True)
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    returned = mapped(program.call_spec.out_spec.unflatten(values), lambda value: value)
    for name, value in named(returned).items():
        if not isinstance(value, fx.Node):
            raise InputError(
                f"a network must return tensors, in tuples, lists and dicts, and {name} is "
                f"{type(value).__name__}; wrap it in a module that returns the tensors alone"
            )
    return returned


def user_sources(node: fx.Node) -> Iterator[str]:
    """Yield ``file:line`` of a node's call, from the network's own code, innermost first."""
    lines = (node.meta.get("stack_trace") or "").splitlines()
    for line in reversed(lines):
        parts = line.strip().split('"')
        if line.strip().startswith("File ") and not parts[1].startswith(_LIBRARIES):
            number = parts[2].split("line ")[1].split(",")[0]
            yield f"{os.path.basename(parts[1])}:{number}"


def makes_nothing(node: fx.Node) -> bool:
    """Whether a call only makes sure of something, as torch does of types."""
    return not node.users and node.meta.get("val") is None


def first_result(node: fx.Node) -> Tensor:
    """What stands for the result of a call, or for the first one."""
    result = node.meta["val"]
    first: Tensor = result if isinstance(result, Tensor) else result[0]
    return first
