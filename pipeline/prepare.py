"""From raw samples to a model's input tensor, and from an output tensor back to numbers."""

from __future__ import annotations

import math

import numpy as np

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph import Tensor
from tinydeploy.types import InputDescription

_QUANTIZED = frozenset({"int8", "uint8", "int16", "uint16", "int32"})


def prepare(x: np.ndarray, tensor: Tensor, description: InputDescription | None) -> np.ndarray:
    """Samples (N, ...) as the input `tensor` takes them: (N, *sample shape), in its dtype.

    Float samples are described (see InputDescription) and quantized. Integers in the tensor's own
    dtype go in as they are when there is no description. Other integers are an error unless the
    description is of their dtype; then they are described and quantized as well. Dimensions of
    size one may be missing or added: (N, 28, 28) fits (1, 28, 28, 1).

    Raises UsageError for samples of another shape or dtype.
    """
    x = channels_last(x, description)
    if _is_own(x, tensor, description):
        return fit_shape(x, tensor)
    return quantize(fit_shape(described(x, tensor, description), tensor), tensor)


def as_float(x: np.ndarray, tensor: Tensor, description: InputDescription | None) -> np.ndarray:
    """Samples (N, ...) as the float32 numbers (N, *sample shape) that `prepare` quantizes.

    For samples that go into an integer tensor as they are: the numbers that they stand for.
    """
    x = channels_last(x, description)
    if _is_own(x, tensor, description):
        return dequantize(fit_shape(x, tensor), tensor)
    return fit_shape(described(x, tensor, description), tensor)


def channels_last(x: np.ndarray, description: InputDescription | None) -> np.ndarray:
    """Samples (N, C, H, W) that are described as channels first, as (N, H, W, C)."""
    if description is None or description.layout == "as-is":
        return x
    if x.ndim != 4:
        raise UsageError(
            f"x has the shape {x.shape}, which has no channels first",
            hint="give x as (N, channels, height, width), or leave `layout` out",
        )
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def described(x: np.ndarray, tensor: Tensor, description: InputDescription | None) -> np.ndarray:
    """Raw samples as the model's float input: ``(resize(x) * scale) - mean`` in float32.

    Raises UsageError if the samples are not of the dtype that is described.
    """
    expected = description.dtype if description else "float32"
    if not (x.dtype.name == expected or (x.dtype.kind == "f" and expected.startswith("float"))):
        if description:
            raise UsageError(
                f"x is {x.dtype}, raw data of this model is described as {expected}",
                hint=f"give {expected}, as it was before any scaling",
            )
        raise UsageError(
            f"x is {x.dtype}, the model's input takes {tensor.dtype}",
            hint=f"describe the input ([input] dtype = '{x.dtype}', scale, mean)",
        )
    with np.errstate(over="ignore"):
        value = x.astype(np.float32)
    if not np.isfinite(value).all():
        raise UsageError("x holds values that float32 cannot", hint="scale the data down")
    if description is None:
        return value
    if not (math.isfinite(description.scale) and math.isfinite(description.mean)):
        raise UsageError(
            f"the input is described with scale {description.scale}, mean {description.mean}",
            hint="(raw * scale) - mean: both are finite",
        )
    if description.scale == 0:
        raise UsageError(
            "the input is described with scale 0: all samples become the same",
            hint="(raw * scale) - mean: 1 leaves raw data as they are",
        )
    if description.resize and tuple(x.shape[1:3]) != description.resize:
        value = _resized(value, description.resize)
    return value * np.float32(description.scale) - np.float32(description.mean)


def fit_shape(x: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Samples (N, ...) as (N, *sample shape), if only dimensions of size one differ."""
    shape = tensor.sample_shape
    if x.shape[1:] == shape:
        return x
    if [d for d in x.shape[1:] if d != 1] != [d for d in shape if d != 1]:
        hint = f"give x as (N, {', '.join(map(str, shape))})"
        if x.ndim == 4 and (*x.shape[2:], x.shape[1]) == shape:
            hint += ", or describe it: --input-layout channels-first"
        raise UsageError(
            f"x has samples of the shape {x.shape[1:]}, "
            f"the model's input {tensor.name!r} takes {shape}",
            hint=hint,
        )
    return x.reshape(len(x), *shape)


def quantize(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Float numbers in the tensor's dtype: ``round(value / scale) + zero point``, clipped.

    Rounds half away from zero and computes in float32, as TensorFlow Lite's QUANTIZE does. A float
    tensor takes them as they are.
    """
    if tensor.dtype == "float32":
        return values.astype(np.float32)
    scale, zero_point = _parameters(tensor)
    limits = np.iinfo(tensor.dtype)
    rounded = _round_half_away(values.astype(np.float32) / scale).astype(np.float64) + zero_point
    return np.clip(rounded, limits.min, limits.max).astype(tensor.dtype)


def dequantize(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The float32 numbers that a tensor's elements stand for: ``scale * (q - zero point)``."""
    if tensor.dtype == "float32" or not tensor.scales:
        return values.astype(np.float32)
    scale, zero_point = _parameters(tensor)
    return scale * (values.astype(np.int64) - zero_point).astype(np.float32)


def _is_own(x: np.ndarray, tensor: Tensor, description: InputDescription | None) -> bool:
    return description is None and x.dtype.kind != "f" and x.dtype.name == tensor.dtype


def _parameters(tensor: Tensor) -> tuple[np.float32, int]:
    if tensor.dtype not in _QUANTIZED or len(tensor.scales) != 1 or tensor.scales[0] <= 0:
        raise UnsupportedModelError(
            f"tensor {tensor.name!r} is {tensor.dtype} without one scale for all of it",
            hint=f"give its data as {tensor.dtype}, or convert the model with quantized inputs",
        )
    return np.float32(tensor.scales[0]), tensor.zero_points[0]


def _round_half_away(values: np.ndarray) -> np.ndarray:
    """Exact in float32, where adding 0.5 and truncating would round 0.49999997 up."""
    whole = np.trunc(values)
    return whole + np.where(np.abs(values - whole) >= 0.5, np.sign(values), 0).astype(values.dtype)


def _resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images (N, H, W) or (N, H, W, C), each channel resized bilinearly to (height, width)."""
    from PIL import Image

    if x.ndim not in (3, 4):
        raise UsageError(
            f"x has the shape {x.shape}, which cannot be resized like images",
            hint="give images as (N, height, width, channels), or no resize",
        )
    images = x.reshape(*x.shape[:3], -1)
    out = np.empty((len(x), *size, images.shape[3]), np.float32)
    for n, image in enumerate(images):
        for c in range(images.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., c]))
            resized = plane.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            out[n, ..., c] = np.asarray(resized)
    return out.reshape(len(x), *size, *x.shape[3:])
