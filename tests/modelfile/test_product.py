"""The product that a network was trained for: in its file, and what runs it by default."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asq_hw import oracle
from asq_hw.errors import InputError
from asq_hw.modelfile import ModelFileError, load, save
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.sim import simulate, tensor_shapes
from rtl.quantizer.of_layer import LayerUnits
from tests.helpers.modelfiles import join, split
from tests.helpers.networks import network_of_every_kind, random_images


def trained_for(product: str) -> IntegerNetwork:
    return replace(network_of_every_kind(), product=ProductKind(product))


def header_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    header = split(path.read_bytes())[0]["__metadata__"]
    graph: dict[str, Any] = json.loads(header["graph"])
    return header, graph


def rewritten(path: Path, version: str, **changes: object) -> Path:
    header, body = split(path.read_bytes())
    graph = json.loads(header["__metadata__"]["graph"]) | changes
    header["__metadata__"] |= {"version": version, "graph": json.dumps(graph)}
    path.write_bytes(join(header, body))
    return path


def test_a_file_names_the_product_where_it_is_not_the_exact_one(tmp_path: Path) -> None:
    path = tmp_path / "model.asq"
    save(trained_for("post-dual"), path)
    header, graph = header_of(path)
    assert (header["version"], graph["product"]) == ("5", "post-dual")
    assert load(path).product is ProductKind.POST_DUAL
    save(trained_for("post-split"), path)
    header, graph = header_of(path)
    assert header["version"] == "2" and "product" not in graph
    assert load(path).product is ProductKind.POST_SPLIT


def test_a_file_of_version_5_need_not_name_it(tmp_path: Path) -> None:
    path = tmp_path / "model.asq"
    save(trained_for("post-split"), path)
    assert load(rewritten(path, "5")).product is ProductKind.POST_SPLIT
    assert load(rewritten(path, "5", product="post-split")).product is ProductKind.POST_SPLIT


@pytest.mark.parametrize(
    ("version", "product", "message"),
    [
        ("4", "post-dual", r"its graph has an unknown field 'product' \[R-graph]"),
        ("5", "post-lut", r"no network is trained for the product post-lut \[R-graph]"),
        ("5", "exact", r"product must be one of post-split, .*, not 'exact' \[R-graph]"),
        ("5", 3, r"product must be a string.* \[R-graph]"),
    ],
)
def test_another_product_is_refused(
    tmp_path: Path, version: str, product: object, message: str
) -> None:
    path = tmp_path / "model.asq"
    save(trained_for("post-split"), path)
    with pytest.raises(ModelFileError, match=message):
        load(rewritten(path, version, product=product))


def test_a_network_for_the_table_is_refused() -> None:
    with pytest.raises(InputError, match="no network is trained for the product post-lut"):
        trained_for("post-lut")


def test_a_network_runs_as_it_was_trained_unless_told_otherwise() -> None:
    network = trained_for("post-dual")
    images = random_images(network, 2, seed=1)
    traced = oracle.trace(network, images)
    assert "stem.0-odd-codes" in traced.tensors()
    scores = traced.feature_maps[network.outputs[0].layer].reshape(2, -1)
    np.testing.assert_array_equal(simulate(network, images, kernel="portable").scores, scores)
    exact = oracle.trace(network, images, Product())
    assert "stem.0-even" in exact.tensors()
    assert "stem.0-odd-codes" in tensor_shapes(network, network.trained_product)
    units = LayerUnits.of(network, "stem.0")
    assert len(units.layer.accumulator_ranges(units.product)) == 1
