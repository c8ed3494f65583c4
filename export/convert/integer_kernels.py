"""Operators that have an integer kernel, but that ai-edge-quantizer does not know.

Such an operator is quantized under the code of one that is treated alike, and gets its
own code back afterwards: TFLite's kernels are the same whoever chose the scales. Two
operators without an integer kernel are written as one that has it.
"""

from __future__ import annotations

import numpy as np

from export.convert.editable_model import FLOAT32, INT8, EditableModel

# BuiltinOperator of the TFLite schema.
MUL, MAXIMUM, REDUCE_MIN, GELU = 18, 55, 89, 150
NEG, SQUARE = 59, 92
SPLIT = 49
# One input and a scale of its own for the output: GELU. Input and output of one scale:
# MAXIMUM, REDUCE_MIN. Two inputs, the second one a constant: MUL.
STAND_INS = {
    47: GELU,  # EXP
    54: MUL,  # PRELU
    57: MAXIMUM,  # MINIMUM
    82: REDUCE_MIN,  # REDUCE_MAX
    98: GELU,  # LEAKY_RELU
    101: GELU,  # ABS
    111: GELU,  # ELU
}
# Versions of these operators with int8; that of the others is as in float.
INT8_VERSIONS = {47: 2, 57: 2, 82: 2, 98: 2, 101: 2}

Disguised = dict[int, int]  # an operator's own code by its index in the table of codes


def disguise(model: bytes) -> tuple[bytes, Disguised]:
    """Returns a float32 model whose operators the quantizer knows, and what they were.

    Tensors keep their names. A model without such operators is returned as it is.
    """
    edited = EditableModel(model)
    codes = [code.builtinCode for code in edited.model.operatorCodes]
    disguised = {index: code for index, code in enumerate(codes) if code in STAND_INS}
    rewritten = _multiply_instead(edited, codes)
    if not disguised and not rewritten:
        return model, {}
    for index, code in disguised.items():
        _set_code(edited, index, STAND_INS[code], 1)
    return edited.to_bytes(), disguised


def reveal(model: bytes, disguised: Disguised) -> bytes:
    """Returns a quantized model whose operators are called what they are."""
    if not disguised:
        return model
    edited = EditableModel(model)
    for index, code in disguised.items():
        _set_code(edited, index, code, INT8_VERSIONS.get(code, 1))
    return edited.to_bytes()


def with_whole_splits(model: bytes) -> bytes:
    """Returns a quantized model in which all parts of an int8 tensor are int8.

    The quantizer leaves those in float that nobody reads (the first step of an LSTM
    needs no forget gate), and no kernel makes integers and floats of one tensor.
    """
    edited = EditableModel(model)
    tensors = edited.graph.tensors
    read = {index for one in edited.graph.operators for index in one.inputs}
    changed = False
    for operator in edited.graph.operators:
        code = edited.model.operatorCodes[operator.opcodeIndex].builtinCode
        if code != SPLIT:
            continue
        source = tensors[operator.inputs[1]]
        for index in operator.outputs:
            part = tensors[index]
            if index not in read and part.type == FLOAT32 and source.type == INT8:
                part.type, part.quantization = INT8, source.quantization
                changed = True
    return edited.to_bytes() if changed else model


def _set_code(edited: EditableModel, index: int, code: int, version: int) -> None:
    entry = edited.model.operatorCodes[index]
    entry.builtinCode = code
    entry.deprecatedBuiltinCode = min(code, 127)  # a byte, with this for all others
    entry.version = version


def _multiply_instead(edited: EditableModel, codes: list[int]) -> bool:
    """Makes x squared x times x, and -x x times -1; returns whether any was there."""
    operators = [
        (operator, codes[operator.opcodeIndex])
        for operator in edited.graph.operators
        if codes[operator.opcodeIndex] in (SQUARE, NEG)
    ]
    for number, (operator, code) in enumerate(operators):
        source = operator.inputs[0]
        factor = source
        if code == NEG:
            minus_one = np.array([-1], np.float32)
            factor = edited.add_constant(f"minus_one_{number}", minus_one)
        edited.make_product(operator, source, factor)
    return bool(operators)
