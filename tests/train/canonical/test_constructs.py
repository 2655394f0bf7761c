"""What people write is taken, and computes the same in integers; or it is refused by name."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asq_hw import oracle
from asq_hw.datasets import Dataset
from asq_hw.train import recipes
from asq_hw.train.export.network import export_network
from asq_hw.train.graph.canonical.findings import FindingKind
from asq_hw.train.graph.canonical.rewrite import rewrite
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.graph.results import named
from tests.train.canonical.constructs import CONSTRUCTS, REFUSED

EIGHT_BITS = {
    "weights": "lsq", "activations": "lsq", "weight_bits": 8, "activation_bits": 8,
    "per_channel": True,
}  # fmt: skip


def images() -> Dataset:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 3, 8, 8), dtype=np.uint8)
    return Dataset(name="drawn", images=pixels, labels=None, classes=(), mean=0.5, std=0.25)


def seen(dataset: Dataset) -> Tensor:
    return (torch.from_numpy(dataset.images.copy()) / 255 - 0.5) / 0.25


def made(name: str) -> nn.Module:
    torch.manual_seed(3)
    model = CONSTRUCTS[name]()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize("name", CONSTRUCTS)
def test_what_people_write_computes_the_same_in_integers(name: str) -> None:
    model = made(name)
    before = copy.deepcopy(model.state_dict())
    x = seen(images())
    rewriting = rewrite(model, x)
    assert model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    network = rewriting.network
    assert network is not None, [str(finding) for finding in rewriting.findings]
    (floating,) = named(network.eval()(x)).values()
    quantized = quantize(network, recipes.load("digits-asq-post-w4a4", EIGHT_BITS)).train()
    for module in quantized.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout | nn.Dropout2d):
            module.eval()
    with torch.no_grad():
        quantized(x)  # steps start from what they see
    integers = export_network(quantized.eval(), recipes.load("digits-asq-post-w4a4"), images())
    result = oracle.run(integers, images().images)[integers.outputs[0].layer]
    scores = torch.from_numpy(result.reshape(len(x), -1).astype(np.float32))
    together = torch.stack([scores.flatten(), floating.flatten()])
    assert torch.corrcoef(together)[0, 1] > 0.99


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_integer_form_is_refused_by_name_and_line(name: str) -> None:
    make, said = REFUSED[name]
    torch.manual_seed(3)
    rewriting = rewrite(make(), seen(images()))
    assert rewriting.network is None
    refused = [f for f in rewriting.findings if f.kind is FindingKind.REFUSED]
    assert said in str(refused[0])
    assert all(finding.source.startswith("constructs.py:") for finding in refused)
