"""Layer shapes of integer networks."""

import numpy as np
import pytest

from analysis.cost.counts import stored_counts
from analysis.cost.networks import find_network, integer_network_shape
from analysis.cost.overhead import Convention, overhead
from analysis.cost.shapes import LayerKind
from analysis.cost.topologies import AdapterPer, Steps, named_network
from asq_hw import modelfile
from asq_hw.errors import InputError
from asq_hw.network.activation import (
    ActivationQuantizer,
    AdapterStage,
    AdaptiveStep,
    FixedStep,
    Step,
    adapter_hidden_width,
)
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, GlobalAveragePool, Input, Linear
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST, UNIFORM
from asq_hw.numbers.widths import BIAS_BITS, MULTIPLIER_BITS, STEP_BITS
from tests.helpers import networks

FORMAT = FeatureFormat(bits=12, fraction_bits=4)
EIGHT = Grid(scheme=UNIFORM, bits=8)
POST = Grid(scheme=POST, bits=3, encoding=Encoding.PAPER)


def quantizer(step: Step, bits: int) -> ActivationQuantizer:
    grid = Grid(scheme=UNIFORM, bits=bits, signed=False)
    return ActivationQuantizer(grid=grid, step=step, step_fraction_bits=4)


def adapter(channels: int, hidden: int) -> AdaptiveStep:
    """Two stages, or one where `hidden` is 0."""

    def stage(outputs: int, inputs: int) -> AdapterStage:
        return AdapterStage(
            weight=np.ones((outputs, inputs), dtype=np.int64),
            bias=np.ones(outputs, dtype=np.int64),
            multiplier=1,
            shift=0,
            minimum=1,
            maximum=100,
        )

    stages = (stage(hidden, channels), stage(1, hidden)) if hidden else (stage(1, channels),)
    return AdaptiveStep(pool_multiplier=1, pool_shift=4, stages=stages)


def common(outputs: int) -> dict[str, object]:
    return {
        "multiplier": np.ones(outputs, dtype=np.int64),
        "narrow_shift": 0,
        "shift": 4,
        "bias": np.zeros(outputs, dtype=np.int64),
        "output": FORMAT,
    }


def convolution(name: str, source: str, shape: tuple[int, int, int, int], step: Step) -> Conv:
    kernel = shape[2]
    return Conv(
        name=name,
        source=source,
        quantizer=quantizer(step, 4),
        weight_grid=POST if isinstance(step, AdaptiveStep) else EIGHT,
        weight_codes=np.ones(shape, dtype=np.uint16),
        padding=(kernel // 2, kernel // 2),
        groups=8 // shape[1] if source != "image" else 1,
        **common(shape[0]),
    )


@pytest.fixture
def network() -> IntegerNetwork:
    """Stem, depthwise with a two-stage adapter, pointwise with one stage, classifier."""
    return IntegerNetwork(
        name="tiny",
        layers=(
            Input(
                name="image",
                height=6,
                width=5,
                multiplier=np.array([1]),
                offset=np.array([0]),
                shift=0,
                output=FORMAT,
            ),
            convolution("stem", "image", (8, 1, 3, 3), FixedStep(step=3)),
            convolution("depthwise", "stem", (8, 1, 3, 3), adapter(8, 2)),
            convolution("pointwise", "depthwise", (4, 8, 1, 1), adapter(8, 0)),
            GlobalAveragePool(name="pool", source="pointwise", multiplier=1, shift=0),
            Linear(
                name="head",
                source="pool",
                quantizer=quantizer(FixedStep(step=3), 8),
                weight_grid=EIGHT,
                weight_codes=np.ones((3, 4), dtype=np.uint16),
                **common(3),
            ),
        ),
    )


def test_layers_and_their_roles(network):
    shape = integer_network_shape(network)
    assert shape.name == "tiny"
    assert [(lv.name, lv.kind, lv.quantized, lv.adapter_hidden) for lv in shape.layers] == [
        ("stem", LayerKind.CONVOLUTION, False, None),
        ("depthwise", LayerKind.CONVOLUTION, True, 2),
        ("pointwise", LayerKind.CONVOLUTION, True, 0),
        ("head", LayerKind.LINEAR, False, None),
    ]


def test_multiplications_are_the_networks_own(network):
    counted = {lv.name: lv.multiplications for lv in integer_network_shape(network).layers}
    assert counted == {name: macs for name, macs in network.macs().items() if macs}


def test_adapter_counts_are_those_of_the_arrays(network):
    shapes = {lv.name: lv for lv in integer_network_shape(network).layers}
    for layer in network.layers:
        if not isinstance(layer, Conv | Linear):
            continue
        step = layer.quantizer.step
        stages = step.stages if isinstance(step, AdaptiveStep) else ()
        shape = shapes[layer.name]
        assert shape.adapter_weights == sum(stage.weight.size for stage in stages)
        assert shape.adapter_outputs == sum(stage.bias.size for stage in stages)
        assert shape.adapter_stages == len(stages)
        assert shape.weights == layer.weight_codes.size


def test_widths_come_from_the_model(network):
    depthwise = integer_network_shape(network).layers[1]
    assert depthwise.feature_bits == 12
    assert depthwise.weight_grid == POST
    assert depthwise.activation_bits == 4
    row = overhead(integer_network_shape(network), convention=Convention.STORED).rows[0].as_dict()
    assert row["bits"] == 3
    assert row["weight_bits"] == (72 + 12) * 8 + (72 + 32) * 4
    assert row["multiplier_bits"] == 23 * MULTIPLIER_BITS
    assert row["bias_bits"] == 23 * BIAS_BITS
    assert row["step_bits"] == 2 * STEP_BITS
    assert row["buffer_bits"] == 8 * 6 * 5 * 12
    assert row["comparisons"] == 2 * 4 * 8 * 6 * 5


def test_an_end_with_an_adapter_is_a_quantized_layer(network):
    head = network.layers[-1]
    changed = Linear(
        name="head",
        source="pool",
        quantizer=quantizer(adapter(4, 0), 4),
        weight_grid=POST,
        weight_codes=head.weight_codes,
        **common(3),
    )
    shape = integer_network_shape(IntegerNetwork(name="x", layers=(*network.layers[:-1], changed)))
    assert (shape.layers[-1].quantized, shape.layers[-1].adapter_weights) == (True, 4)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_names_are_found(name):
    assert find_network(name) == named_network(name)
    assert find_network(name, input_size=64) == named_network(name, input_size=64)


def test_model_files_are_found(network, tmp_path):
    path = tmp_path / "tiny.asq"
    modelfile.save(network, path)
    assert find_network(path) == integer_network_shape(network)
    with pytest.raises(InputError, match=r"input is fixed by .*, so it cannot be 32"):
        find_network(path, input_size=32)


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a model")
    with pytest.raises(InputError, match=r"notes\.txt"):
        find_network(path)


def test_the_trainers_adapter_has_the_counted_shape():
    train_adapter = pytest.importorskip("asq_hw.train.quantizers.adapter")
    for channels in (1, 3, 7, 8, 9, 16, 64):
        layers = train_adapter.PaperAdapter(channels).linear_layers()
        hidden = layers[0].out_features if len(layers) == 2 else 0
        assert hidden == adapter_hidden_width(channels)


def test_steps_that_are_exponents_are_counted():
    """Eight channels of 5 x 5: by hand from the contract's section 4."""
    log_linear = LogLinearStep(
        pool_multiplier=1,
        pool_shift=4,
        weight=np.ones(8, dtype=np.int64),
        multiplier=1,
        shift=1,
        offset=9,
        lowest=0,
        highest=4095,
    )
    shared = SharedExponentStep(lowest=0, highest=15)
    network = IntegerNetwork(
        name="exponents",
        layers=(
            Input(
                name="image",
                height=5,
                width=5,
                multiplier=np.ones(8, dtype=np.int64),
                offset=np.zeros(8, dtype=np.int64),
                shift=0,
                output=FORMAT,
            ),
            convolution("stem", "image", (8, 8, 1, 1), FixedStep(step=3)),
            convolution("linear", "stem", (8, 8, 1, 1), log_linear),
            convolution("power", "linear", (8, 8, 1, 1), shared),
            convolution("last", "power", (8, 8, 1, 1), FixedStep(step=3)),
            GlobalAveragePool(name="scores", source="last", multiplier=1, shift=4),
        ),
    )
    shape = integer_network_shape(network)
    _, linear, power, _ = (stored_counts(layer, 4, 4) for layer in shape.layers)
    assert (linear.adapter_weight_bits, linear.adapter_bias_bits) == (8 * 8, 32)
    assert linear.buffer_bits == power.buffer_bits == 8 * 25 * 12
    assert (power.adapter_weight_bits, power.adapter_bias_bits, power.step_bits) == (0, 0, 0)
    assert (power.comparisons, power.threshold_bits) == (200, 200 * 12)
    assert (power.pooling_additions, power.multiplier_updates) == (0, 0)


def test_a_model_file_has_its_own_steps(tmp_path):
    path = tmp_path / "net.asq"
    path.write_bytes(b"")
    with pytest.raises(InputError, match="has its own steps, so none can be chosen for it"):
        find_network(path, adapter_ratio=8)


def test_a_dilated_convolution_is_counted_at_its_places():
    """A 3 x 2 kernel over 5 x 3 pixels of an 8 x 7 map, with stride 1, has 4 x 5 places."""
    gaps = networks.conv(np.ones((2, 1, 3, 2), dtype=np.int64), name="gaps", dilation=(2, 2))
    shape = integer_network_shape(networks.network(networks.input_layer(8, 7), gaps))
    assert (shape.layers[0].out_height, shape.layers[0].out_width) == (4, 5)
    assert shape.layers[0].multiplications == 2 * 3 * 2 * 4 * 5


def test_a_shared_adapter_costs_a_multiplier():
    """Behind an adapter of 8 + 2 hidden: what the second layer of a block holds and does."""
    shared = SharedAdapterStep(layer="first", multiplier=3, shift=1, minimum=1, maximum=9)
    network = IntegerNetwork(
        name="block",
        layers=(
            Input(
                name="image",
                height=5,
                width=5,
                multiplier=np.ones(8, dtype=np.int64),
                offset=np.zeros(8, dtype=np.int64),
                shift=0,
                output=FORMAT,
            ),
            convolution("stem", "image", (8, 8, 1, 1), FixedStep(step=3)),
            convolution("first", "stem", (8, 8, 1, 1), adapter(8, 2)),
            convolution("second", "first", (6, 8, 1, 1), shared),
            convolution("last", "second", (6, 6, 1, 1), FixedStep(step=3)),
            GlobalAveragePool(name="scores", source="last", multiplier=1, shift=4),
        ),
    )
    second = stored_counts(integer_network_shape(network).layers[2], 4, 4)
    assert (second.adapter_weight_bits, second.adapter_bias_bits, second.step_bits) == (0, 0, 0)
    assert second.adapter_scale_bits == second.adapter_operation_bits == 16
    assert (second.pooling_bits, second.buffer_bits) == (0, 0)
    assert (second.threshold_additions, second.comparisons) == (14, 4 * 8 * 25)
    assert (second.multiplier_updates, second.multiplier_update_bits) == (6, 6 * 16)


def test_named_blocks_share_the_adapter_of_their_first_layer():
    plain = named_network("resnet20")
    shared = named_network("resnet20", adapter_per=AdapterPer.BLOCK)
    assert [layer.name for layer in shared.layers] == [layer.name for layer in plain.layers]
    own = [layer.name for layer in shared.layers if layer.has_adapter]
    assert own == [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in range(3)]
    taken = [layer.name for layer in shared.layers if layer.shares_adapter]
    assert {*own, *taken} == {layer.name for layer in plain.layers if layer.has_adapter}
    with pytest.raises(InputError, match="with steps fixed it cannot be block"):
        named_network("resnet20", steps=Steps.FIXED, adapter_per=AdapterPer.BLOCK)
