"""The decode inside the network: equal to the plain one in float, and exact weights in int8."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeai.artifacts import ModelSpec  # noqa: E402
from edgeai.evaluate.decode import Output, decode  # noqa: E402
from edgeai.export import heads  # noqa: E402

SPEC = ModelSpec("yolov8n-seg", "yolov8", "segment", "n", ("a", "b", "c"), num_coefs=5)
SIZE = 96


class Recorded(torch.nn.Module):  # type: ignore[misc]
    """A network whose raw outputs are given."""

    def __init__(self, spec: ModelSpec, size: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)

        def noise(channels: int, side: int) -> torch.Tensor:
            return 3 * torch.randn(1, channels, side, side, generator=generator)

        self.outputs = []
        for stride in spec.strides:
            self.outputs += [noise(c, size // stride) for c in (4 * spec.reg_max, spec.nc, spec.num_coefs)]
        self.outputs.append(noise(spec.num_coefs, size // 4))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.outputs)


def candidates(layout: str) -> tuple[np.ndarray, ...]:
    module = heads.with_head(Recorded(SPEC, SIZE), SPEC, SIZE, layout)
    outputs = [Output(o.numpy()) for o in module(torch.zeros(1, 3, SIZE, SIZE))]
    found = decode(outputs, heads.contract(SPEC, layout, SIZE), conf=0.02)
    order = np.lexsort((found.classes, found.boxes[found.rows, 1], found.boxes[found.rows, 0]))
    return tuple(a[order] for a in (found.boxes[found.rows], found.scores, found.coefs[found.rows], found.classes))


@pytest.mark.parametrize("layout", ["split", "concat"])
def test_every_layout_decodes_to_the_same(layout: str) -> None:
    expected, actual = candidates("raw"), candidates(layout)
    assert len(expected[1]) > 100
    for wanted, found in zip(expected, actual, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-3 if wanted.shape[1:] == (4,) else 1e-5)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("size", [8, 12, 40, 80])
def test_int8_keeps_the_box(per_channel: bool, size: int) -> None:
    """Weights and positions rounded as TFLite rounds them still give every box, to 1/60 of a cell."""
    positions = heads._Positions(size, heads._steps(16))
    conv = heads._expectation(16, 1 / size, positions)
    weight, bias = conv.weight.detach()[:, :, 0, 0].double(), conv.bias.detach().double()
    largest = weight.abs().amax(dim=1, keepdim=True) if per_channel else weight.abs().max()
    rounded = torch.round(weight / (largest / 127)) * (largest / 127)
    places = positions.tensor().double()
    assert torch.equal(torch.round(places * 256), places * 256) and places.max() < 1
    generator = np.random.default_rng(0)
    for sides, cell in zip(generator.integers(0, 16, (200, 4)), generator.integers(0, size**2, 200), strict=True):
        left, top, right, bottom = sides
        one_hot = torch.zeros(4, 16, dtype=torch.float64)
        one_hot[torch.arange(4), torch.tensor(sides)] = 1
        found = (rounded @ torch.cat([one_hot.reshape(-1), places[cell]]) + bias) * size
        y, x = divmod(int(cell), size)
        wanted = [x + 0.5 + (right - left) / 2, y + 0.5 + (bottom - top) / 2, left + right, top + bottom]
        np.testing.assert_allclose(found, wanted, atol=1 / 60)


def test_dividing_the_coefficients_divides_only_them() -> None:
    from edgeai.models import build

    torch.manual_seed(0)
    network, spec = build("yolov8n-seg", nc=3)
    network.eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = network(image)
        heads.scale_coefficients(network, 8.0)
        after = network(image)
    for role, a, b in zip(heads.roles(spec, "raw"), before, after, strict=True):
        torch.testing.assert_close(b * (8 if role.kind == "coefs" else 1), a)
