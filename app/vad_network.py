"""Silero's network written anew with the callers as its batch: the weights of faster-whisper's file, other operators.

That file reads its first axis as time, so each caller would need a call of his own, which reads all weights for one
frame. And its one-dimensional convolutions over at most four places are slow in onnxruntime; here each is one product.
Eight frames in one call cost about a sixth of eight calls of the file; the probabilities are its own to within 1e-5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# N callers; 576 samples: 64 of the frame before, and the frame's 512
WINDOW, BASIS, HOP, PLACES = 576, 256, 128, 4  # of the short-time spectrum: its length, step, and how many fit
BINS, UNITS = 129, 128


def build(path: str) -> bytes:
    """An ONNX model of Silero v6's weights in the file at `path`.

    input float32 [N, 576], h and c float32 [1, N, 128] -> probability [N], h_next and c_next as h and c.
    Raises KeyError for a file whose weights have other names.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(value: NDArray[Any]) -> str:
        name = f"constant{len(constants)}"
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def ints(*values: int) -> str:
        return constant(np.array(values, np.int64))

    def node(operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator}{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def part(tensor: str, start: int, end: int, axis: int = 1) -> str:
        return node("Slice", tensor, ints(start), ints(end), ints(axis))

    def dense(tensor: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        return node("Relu", node("Add", node("MatMul", tensor, constant(weight)), constant(bias)))

    def kernel(layer: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """A convolution's weight, [places, channels in, channels out], and bias."""
        name = f"encoder.conv_layers.{layer}"
        return weights[f"{name}.weight"].transpose(2, 1, 0), weights[f"{name}.bias"]

    # 1. The magnitude spectrum of four overlapping stretches: [N, 4, 129].
    padded = node("Pad", "input", ints(0, 0, 0, PLACES * HOP + BASIS - HOP - WINDOW), mode="reflect")  # to 640
    hops = node("Reshape", padded, ints(-1, PLACES + 1, HOP))
    stretches = node("Concat", part(hops, 0, PLACES), part(hops, 1, PLACES + 1), axis=2)  # [N, 4, 256]
    basis = weights["encoder.feature_extractor.forward_basis_buffer"][:, 0, :].T  # cosines, then sines
    waves = node("MatMul", stretches, constant(basis))
    squares = node("Mul", waves, waves)
    magnitude = node("Sqrt", node("Add", part(squares, 0, BINS, 2), part(squares, BINS, 2 * BINS, 2)))

    # 2. Four convolutions of three places each; what lies beyond either end is zero.
    weight, bias = kernel(0)
    wide = node("Pad", magnitude, ints(0, 1, 0, 0, 1, 0))
    three = node("Concat", *(part(wide, place, place + PLACES) for place in range(3)), axis=2)
    heard = dense(three, weight.reshape(3 * BINS, -1), bias)  # [N, 4, 128]
    weight, bias = kernel(1)  # in steps of two: around the first and the third place
    wide = node("Pad", heard, ints(0, 1, 0, 0, 0, 0))
    around = [node("Reshape", part(wide, at, at + 3), ints(-1, 1, 3 * UNITS)) for at in (0, 2)]
    heard = dense(node("Concat", *around, axis=1), weight.reshape(3 * UNITS, -1), bias)  # [N, 2, 64]
    weight, bias = kernel(2)  # around the first place, before which there is nothing
    heard = dense(node("Reshape", heard, ints(-1, 2 * weight.shape[1])), np.concatenate(weight[1:]), bias)  # [N, 64]
    weight, bias = kernel(3)  # one place is left, with nothing on either side
    heard = dense(heard, weight[1], bias)  # [N, 128]

    # 3. One step of the LSTM, whose state tells speech from noise, and the probability.
    recurrent = [constant(weights[f"onnx::LSTM_{number}"]) for number in (209, 210, 211)]
    sequence = node("Unsqueeze", heard, ints(0))
    nodes.append(
        helper.make_node("LSTM", [sequence, *recurrent, "", "h", "c"], ["", "h_next", "c_next"], hidden_size=UNITS)
    )
    last = node("MatMul", node("Relu", "h_next"), constant(weights["decoder.conv1d.weight"][0]))
    score = node("Reshape", node("Add", last, constant(weights["decoder.conv1d.bias"])), ints(-1))
    nodes.append(helper.make_node("Sigmoid", [score], ["probability"]))

    def value(name: str, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [value("input", "N", WINDOW), value("h", 1, "N", UNITS), value("c", 1, "N", UNITS)]
    outputs = [value("probability", "N"), value("h_next", 1, "N", UNITS), value("c_next", 1, "N", UNITS)]
    graph = helper.make_graph(nodes, "silero", inputs, outputs, constants)
    # Versions of operators and file that faster-whisper's own has, so that whatever runs that runs this.
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    ).SerializeToString()
    return model
