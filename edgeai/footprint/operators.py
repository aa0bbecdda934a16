"""The operators that edgeai can place and time, in the vocabularies of TFLite and ONNX, by the sort of their work.

What stands in none of these sets is not known to run on an STM32: its memory, its time and its unit are not guessed.
"""

from __future__ import annotations

from edgeai.graph.types import RECURRENT, TRANSPARENT, WEIGHT_OPERANDS, Graph, Op


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# a transcendental function of every number
ACTIVATION = _names("""
LOGISTIC SOFTMAX LOG_SOFTMAX TANH HARD_SWISH ELU GELU EXP LOG SQRT RSQRT POW SIN COS
Sigmoid Softmax LogSoftmax Tanh HardSwish HardSigmoid Elu Selu Celu Gelu Mish Softplus Softsign ThresholdedRelu Erf Exp
Log Sqrt Reciprocal Pow Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh QLinearSigmoid QLinearSoftmax
""")

# some arithmetic for every number
ELEMENT = _names("""
ADD ADD_N SUB MUL DIV FLOOR_DIV FLOOR_MOD SQUARE SQUARED_DIFFERENCE ABS NEG SIGN FLOOR CEIL ROUND MAXIMUM MINIMUM
EQUAL NOT_EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL LOGICAL_AND LOGICAL_OR LOGICAL_NOT SELECT SELECT_V2 CAST
QUANTIZE DEQUANTIZE RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LEAKY_RELU PRELU MAX_POOL_2D AVERAGE_POOL_2D L2_POOL_2D
MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD REDUCE_ANY REDUCE_ALL ARG_MAX ARG_MIN L2_NORMALIZATION
LOCAL_RESPONSE_NORMALIZATION
Add Sub Mul Div Mod Sum Mean Abs Neg Sign Floor Ceil Round Max Min Equal Greater GreaterOrEqual Less LessOrEqual And Or
Xor Not Where TopK Hardmax Cast Relu Clip LeakyRelu PRelu
MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool
ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ArgMax ArgMin
BatchNormalization InstanceNormalization LayerNormalization GroupNormalization LRN LpNormalization
QLinearAdd QLinearMul QLinearLeakyRelu QLinearAveragePool QLinearGlobalAveragePool
""")

# numbers that only change their place
MOVE = _names("""
CONCATENATION TRANSPOSE STRIDED_SLICE SLICE SPLIT SPLIT_V RESIZE_NEAREST_NEIGHBOR PAD PADV2 MIRROR_PAD GATHER PACK
UNPACK TILE DEPTH_TO_SPACE SPACE_TO_DEPTH BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND REVERSE_V2 BROADCAST_TO GATHER_ND
GatherND GatherElements ScatterND
Concat Transpose Slice Split Resize Upsample Pad Gather Tile DepthToSpace SpaceToDepth Expand QLinearConcat
""")

BILINEAR = _names("RESIZE_BILINEAR")

# nothing is done: another view of the same numbers, or a number about shapes
VIEW = _names("""
RESHAPE SQUEEZE EXPAND_DIMS SHAPE RANK
Reshape Squeeze Unsqueeze Flatten Identity Shape Size Dropout Constant
""")

# recurrent layers that ST's importers take (Keras' LSTM and GRU, and what converters make of them)
RECURRENT_KNOWN = frozenset(
    (form, kind) for form, kind in RECURRENT if kind in ("LSTM", "GRU", "RNN", "UNIDIRECTIONAL_SEQUENCE_LSTM")
)

KNOWN = ACTIVATION | ELEMENT | MOVE | BILINEAR | VIEW | TRANSPARENT | frozenset(WEIGHT_OPERANDS)


def is_known(graph: Graph, op: Op) -> bool:
    """Whether edgeai knows what an operator asks of a processor."""
    return op.kind in KNOWN or (graph.format, op.kind) in RECURRENT_KNOWN


# Inputs that say how an operator works and are compiled into it: shapes, axes, paddings, limits, scales. Every other
# constant input is data, which takes memory on the board. By position.
_REDUCTIONS = "MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD REDUCE_ANY REDUCE_ALL ARG_MAX ARG_MIN"
_REDUCTIONS_ONNX = "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare"
PARAMETERS: dict[str, frozenset[int]] = {
    kind: frozenset(positions)
    for kinds, positions in (
        ("RESHAPE PAD PADV2 MIRROR_PAD TRANSPOSE TILE EXPAND_DIMS BROADCAST_TO REVERSE_V2", (1,)),
        ("RESIZE_NEAREST_NEIGHBOR RESIZE_BILINEAR TOPK_V2 ONE_HOT CUMSUM", (1,)),
        (_REDUCTIONS, (1,)),
        ("SPLIT FILL TRANSPOSE_CONV", (0,)),
        ("SLICE SPLIT_V BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND", (1, 2)),
        ("STRIDED_SLICE", (1, 2, 3)),
        ("Reshape Unsqueeze Squeeze Expand Tile Split TopK OneHot CumSum Upsample", (1,)),
        (_REDUCTIONS_ONNX, (1,)),
        ("Slice", (1, 2, 3, 4)),
        ("Resize Pad", (1, 2, 3)),
        ("Clip Dropout QuantizeLinear DequantizeLinear", (1, 2)),
        ("ConstantOfShape", (0,)),
        ("QLinearConv QLinearMatMul", (1, 2, 4, 5, 6, 7)),
    )
    for kind in kinds.split()
}
