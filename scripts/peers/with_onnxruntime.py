"""onnxruntime: the network as a graph of Gemm and activation nodes, as the exporters write it."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .predictor import Predictor
from .workloads import Problem

__all__ = ["predictors"]

#: Every onnxruntime of the last years reads these.
OPSET, IR_VERSION = 17, 8


def graph(problem: Problem) -> bytes:
    """The network in ONNX's format."""
    kind = {"relu": "Relu", "tanh": "Tanh"}[problem.workload.activation]
    nodes, constants, value = [], [], "x"
    for layer, (weight, bias) in enumerate(problem.parameters):
        last = layer == len(problem.parameters) - 1
        constants += [numpy_helper.from_array(weight, f"weight{layer}"), numpy_helper.from_array(bias, f"bias{layer}")]
        out = "scores" if last else f"linear{layer}"
        nodes.append(helper.make_node("Gemm", [value, f"weight{layer}", f"bias{layer}"], [out], transB=1))
        value = out
        if not last:
            value = f"hidden{layer}"
            nodes.append(helper.make_node(kind, [out], [value]))
    widths = problem.workload.widths
    made = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", widths[0]])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", widths[-1]])],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return model.SerializeToString()


def predictors(problem: Problem, x: np.ndarray, threads: list[int]) -> list[Predictor]:
    """A session for each number of threads; 0 are those that it takes by itself, each on a core of its own."""
    return [_predictor(graph(problem), x, count) for count in threads]


def _predictor(model: bytes, x: np.ndarray, threads: int) -> Predictor:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = {"x": x}
    return Predictor("onnxruntime", lambda: session.run(None, inputs)[0])
