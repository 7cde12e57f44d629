"""The convolution beside a block: its numbers and gradients are torch's, and a token reads its own document alone."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from lmkit.blocks.convolution import TokenConvolution
from lmkit.blocks.norms import LayerNorm
from lmkit.blocks.spec import Convolution
from lmkit.engine.tensorflow import value_and_grad
from lmkit.layers.weights import canonical
from lmkit.models.spec import Decoder, Encoder, EncoderDecoder

D = 6
SIZES: dict[str, Any] = {"num_layers": 2, "hidden_size": 8, "num_heads": 2, "convolution": {"kernel_size": 3}}


def convolution(size: int, act: str = "gelu") -> TokenConvolution:
    made = TokenConvolution(D, size, norm=LayerNorm(D, epsilon=1e-5, name="norm"), activation=act, name="convolution")
    made.build()
    draw = np.random.default_rng(size)
    for weight in made.weights:
        weight.assign(draw.normal(0, 0.5, weight.shape))
    return made


def streams(rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(length)
    return tuple(draw.normal(size=(rows, length, D)).astype(np.float32) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_it_is_torchs_convolution_with_its_gradients(size: int, length: int) -> None:
    torch = pytest.importorskip("torch")
    ours, (x, y) = convolution(size), streams(2, length)
    _, out, gradients = value_and_grad(lambda: (ops.sum(ours(x, y) ** 3), (ours(x, y),)), ours.trainable_weights)
    kernel, bias, scale, shift = (torch.tensor(np.asarray(weight), requires_grad=True) for weight in ours.trainable_weights)
    seen = torch.nn.functional.conv1d(torch.tensor(x).permute(0, 2, 1), kernel.permute(2, 1, 0), bias, padding=size // 2)
    summed = torch.tensor(y) + torch.nn.functional.gelu(seen.permute(0, 2, 1))
    theirs = torch.nn.functional.layer_norm(summed, (D,), scale, shift, 1e-5)
    (theirs**3).sum().backward()
    np.testing.assert_allclose(np.asarray(out[0]), theirs.detach().numpy(), atol=2e-5)
    for weight, gradient, other in zip(ours.trainable_weights, gradients, (kernel, bias, scale, shift), strict=True):
        np.testing.assert_allclose(np.asarray(gradient), other.grad.numpy(), rtol=1e-3, atol=1e-3, err_msg=canonical(weight))


def test_documents_in_one_row_are_as_each_alone_whatever_stands_in_the_padding() -> None:
    ours, (x, y) = convolution(5), streams(1, 11)
    packed = np.asarray(ours(x, y, segments=np.array([[1] * 4 + [2] * 5 + [0] * 2], np.int32)))
    for part in (slice(0, 4), slice(4, 9)):
        np.testing.assert_allclose(packed[:, part], np.asarray(ours(x[:, part], y[:, part])), atol=1e-6)


def test_a_kernel_has_a_middle() -> None:
    assert [key for key, _ in Convolution(kernel_size=4).problems()] == ["kernel_size"]
    assert list(Convolution(kernel_size=5).problems()) == []


def test_what_reads_on_both_sides_is_for_encoders() -> None:
    assert list(Encoder.model_validate(SIZES).problems()) == []
    assert [key for key, _ in Decoder.model_validate(SIZES).problems()] == ["convolution"]
    both = {key: value for key, value in SIZES.items() if key != "convolution"}
    assert list(EncoderDecoder.model_validate({**both, "encoder": {"convolution": {"kernel_size": 3}}}).problems()) == []
    assert [key for key, _ in EncoderDecoder.model_validate(SIZES).problems()] == ["convolution"]
