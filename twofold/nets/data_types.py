"""Element types of graphs as torch's."""

from collections.abc import Mapping

import torch

from twofold.v1 import graph_pb2

DATA_TYPES: Mapping[graph_pb2.DataType, torch.dtype] = {
    graph_pb2.DATA_TYPE_FP32: torch.float32,
    graph_pb2.DATA_TYPE_FP64: torch.float64,
    graph_pb2.DATA_TYPE_INT64: torch.int64,
    graph_pb2.DATA_TYPE_INT32: torch.int32,
    graph_pb2.DATA_TYPE_BOOL: torch.bool,
}
#: The other way round.
NAMES: Mapping[torch.dtype, graph_pb2.DataType] = {
    kind: data_type for data_type, kind in DATA_TYPES.items()
}
