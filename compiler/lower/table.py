"""The table of lowerings: one function an operator."""

from __future__ import annotations

from collections.abc import Callable

from tinydeploy.compiler.lower.activation import (
    lower_dequantize,
    lower_logistic,
    lower_quantize,
    lower_relu,
    lower_relu6,
    lower_softmax,
)
from tinydeploy.compiler.lower.blocks import (
    lower_batch_space,
    lower_depth_space,
    lower_gather,
    lower_mirror_pad,
    lower_resize_nearest,
    lower_reverse,
)
from tinydeploy.compiler.lower.context import Context
from tinydeploy.compiler.lower.control import (
    lower_body_view,
    lower_marker,
    lower_next,
)
from tinydeploy.compiler.lower.functions import lower_cast, lower_function, lower_leaky_relu
from tinydeploy.compiler.lower.grouped import lower_conv_or_grouped, lower_transpose_conv
from tinydeploy.compiler.lower.indexed import (
    lower_embedding_lookup,
    lower_gather_nd,
    lower_slice_or_computed,
    lower_update_slice,
)
from tinydeploy.compiler.lower.lstm import lower_lstm
from tinydeploy.compiler.lower.matrices import lower_batch_matmul, lower_resize_bilinear
from tinydeploy.compiler.lower.pairs import (
    lower_add_n,
    lower_add_or_plain,
    lower_compare,
    lower_div,
    lower_extremum,
    lower_floor_pair,
    lower_logical,
    lower_logical_not,
    lower_mul_or_plain,
    lower_prelu,
    lower_select,
    lower_squared_difference,
    lower_sub,
)
from tinydeploy.compiler.lower.pool import lower_pool
from tinydeploy.compiler.lower.product import lower_depthwise, lower_fully_connected
from tinydeploy.compiler.lower.reduce import (
    lower_arg,
    lower_cumsum,
    lower_l2_normalization,
    lower_l2_pool,
    lower_log_softmax,
    lower_mean_over_any,
    lower_reduce_all,
    lower_reduce_extremum,
    lower_sum,
)
from tinydeploy.compiler.lower.shape import lower_concatenation, lower_pad, lower_view
from tinydeploy.compiler.lower.slices import (
    lower_broadcast_to,
    lower_fill,
    lower_pack,
    lower_split,
    lower_strided_slice,
    lower_transpose,
    lower_unpack,
    lower_zeros_like,
)
from tinydeploy.compiler.lower.state import (
    lower_assign_variable,
    lower_read_variable,
    lower_svdf,
    lower_var_handle,
)
from tinydeploy.compiler.program import Call
from tinydeploy.graph import Op

LOWERINGS: dict[str, Callable[[Op, Context], list[Call]]] = {
    "(do)": lower_marker,
    "(else)": lower_marker,
    "(end)": lower_marker,
    "(if)": lower_marker,
    "(next)": lower_next,
    "(view)": lower_body_view,
    "(while)": lower_marker,
    "ABS": lower_function,
    "ADD": lower_add_or_plain,
    "ADD_N": lower_add_n,
    "ARG_MAX": lower_arg,
    "ARG_MIN": lower_arg,
    "ASSIGN_VARIABLE": lower_assign_variable,
    "AVERAGE_POOL_2D": lower_pool,
    "BATCH_MATMUL": lower_batch_matmul,
    "BATCH_TO_SPACE_ND": lower_batch_space,
    "BROADCAST_TO": lower_broadcast_to,
    "CAST": lower_cast,
    "CEIL": lower_function,
    "CONCATENATION": lower_concatenation,
    "CONV_2D": lower_conv_or_grouped,
    "COS": lower_function,
    "CUMSUM": lower_cumsum,
    "DEPTHWISE_CONV_2D": lower_depthwise,
    "DEPTH_TO_SPACE": lower_depth_space,
    "DEQUANTIZE": lower_dequantize,
    "DIV": lower_div,
    "DYNAMIC_UPDATE_SLICE": lower_update_slice,
    "ELU": lower_function,
    "EMBEDDING_LOOKUP": lower_embedding_lookup,
    "EQUAL": lower_compare,
    "EXP": lower_function,
    "EXPAND_DIMS": lower_view,
    "FILL": lower_fill,
    "FLOOR": lower_function,
    "FLOOR_DIV": lower_floor_pair,
    "FLOOR_MOD": lower_floor_pair,
    "FULLY_CONNECTED": lower_fully_connected,
    "GATHER": lower_gather,
    "GATHER_ND": lower_gather_nd,
    "GREATER": lower_compare,
    "GREATER_EQUAL": lower_compare,
    "HARD_SWISH": lower_function,
    "L2_NORMALIZATION": lower_l2_normalization,
    "L2_POOL_2D": lower_l2_pool,
    "LEAKY_RELU": lower_leaky_relu,
    "LESS": lower_compare,
    "LESS_EQUAL": lower_compare,
    "LOG": lower_function,
    "LOGICAL_AND": lower_logical,
    "LOGICAL_NOT": lower_logical_not,
    "LOGICAL_OR": lower_logical,
    "LOGISTIC": lower_logistic,
    "LOG_SOFTMAX": lower_log_softmax,
    "MAXIMUM": lower_extremum,
    "MAX_POOL_2D": lower_pool,
    "MEAN": lower_mean_over_any,
    "MINIMUM": lower_extremum,
    "MIRROR_PAD": lower_mirror_pad,
    "MUL": lower_mul_or_plain,
    "NEG": lower_function,
    "NOT_EQUAL": lower_compare,
    "PACK": lower_pack,
    "PAD": lower_pad,
    "PADV2": lower_pad,
    "PRELU": lower_prelu,
    "QUANTIZE": lower_quantize,
    "READ_VARIABLE": lower_read_variable,
    "REDUCE_ALL": lower_reduce_all,
    "REDUCE_MAX": lower_reduce_extremum,
    "REDUCE_MIN": lower_reduce_extremum,
    "RELU": lower_relu,
    "RELU6": lower_relu6,
    "RESHAPE": lower_view,
    "RESIZE_BILINEAR": lower_resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": lower_resize_nearest,
    "REVERSE_V2": lower_reverse,
    "ROUND": lower_function,
    "RSQRT": lower_function,
    "SELECT_V2": lower_select,
    "SIN": lower_function,
    "SLICE": lower_slice_or_computed,
    "SOFTMAX": lower_softmax,
    "SPACE_TO_BATCH_ND": lower_batch_space,
    "SPACE_TO_DEPTH": lower_depth_space,
    "SPLIT": lower_split,
    "SPLIT_V": lower_split,
    "SQRT": lower_function,
    "SQUARE": lower_function,
    "SQUARED_DIFFERENCE": lower_squared_difference,
    "SQUEEZE": lower_view,
    "STRIDED_SLICE": lower_strided_slice,
    "SUB": lower_sub,
    "SUM": lower_sum,
    "SVDF": lower_svdf,
    "TANH": lower_function,
    "TRANSPOSE": lower_transpose,
    "TRANSPOSE_CONV": lower_transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lower_lstm,
    "UNPACK": lower_unpack,
    "VAR_HANDLE": lower_var_handle,
    "ZEROS_LIKE": lower_zeros_like,
}

SEVERAL_OUTPUTS = ("SPLIT", "SPLIT_V", "UNPACK", "(next)")

STATEFUL = ("SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM")
