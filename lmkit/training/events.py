"""TensorBoard event files, written and read record by record without TensorFlow."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.plugins.histogram import metadata as histogram_plugin
from tensorboard.plugins.scalar import metadata as scalar_plugin
from tensorboard.plugins.text import metadata as text_plugin

HEADER, CRC = struct.Struct("<Q"), struct.Struct("<I")
BINS = 30


def record(happened: Any) -> bytes:
    """One record: length, its checksum, the event, its checksum (the TFRecord format)."""
    data = happened.SerializeToString(deterministic=True)
    header = HEADER.pack(len(data))
    return header + CRC.pack(masked_crc32c(header)) + data + CRC.pack(masked_crc32c(data))


def records(data: bytes) -> Iterator[Any]:
    """The events of a file, up to the first record that is incomplete or fails its checksum."""
    at = 0
    while at + 12 <= len(data):
        header = data[at : at + 8]
        (size,) = HEADER.unpack(header)
        end = at + 12 + size
        body = data[at + 12 : end]
        if data[at + 8 : at + 12] != CRC.pack(masked_crc32c(header)) or data[end : end + 4] != CRC.pack(masked_crc32c(body)):
            return
        yield event_pb2.Event.FromString(body)
        at = end + 4


def event(step: int, wall_time: float) -> Any:
    """An event whose `.summary.value` takes scalars, texts and histograms."""
    return event_pb2.Event(step=step, wall_time=wall_time)


def opening(wall_time: float) -> list[Any]:
    """The events that begin a file. A reader that has already seen a longer file of this run forgets what it held."""
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    return [
        event_pb2.Event(wall_time=wall_time, file_version="brain.Event:2"),
        event_pb2.Event(wall_time=wall_time, step=0, session_log=start),
    ]


def scalar(name: str, value: float, description: str | None) -> Any:
    """One point of a curve; `description` is given with the first point of a file, None with the others."""
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[value])
    metadata = None if description is None else scalar_plugin.create_summary_metadata("", description)
    return _value(name, tensor, metadata, summary_pb2.DATA_CLASS_SCALAR)


def text(name: str, markdown: str, description: str | None) -> Any:
    """A text that TensorBoard shows as Markdown."""
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[markdown.encode()])
    metadata = None if description is None else text_plugin.create_summary_metadata("", description)
    return _value(name, tensor, metadata, summary_pb2.DATA_CLASS_TENSOR)


def histogram(name: str, values: np.ndarray, description: str | None) -> Any:
    """How the elements of an array are distributed: rows of (left edge, right edge, count)."""
    counts, edges = np.histogram(np.asarray(values, np.float64).reshape(-1), bins=BINS)
    rows = np.stack([edges[:-1], edges[1:], counts.astype(np.float64)], axis=1)
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_DOUBLE, tensor_shape=_shape(rows.shape), tensor_content=rows.tobytes())
    metadata = None if description is None else histogram_plugin.create_summary_metadata("", description)
    return _value(name, tensor, metadata, summary_pb2.DATA_CLASS_TENSOR)


def _shape(shape: Sequence[int]) -> Any:
    return tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape])


def _value(name: str, tensor: Any, metadata: Any, data_class: int) -> Any:
    value = summary_pb2.Summary.Value(tag=name, tensor=tensor)
    if metadata is not None:
        value.metadata.CopyFrom(metadata)
        value.metadata.data_class = data_class
    return value
