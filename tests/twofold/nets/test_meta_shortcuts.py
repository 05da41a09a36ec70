"""Shapes that are known without torch's slow ways are those of torch."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any

import pytest
import torch

from twofold.nets import meta_shortcuts


def _tensors() -> list[torch.Tensor]:
    shapes = [(4, 6), (6,), (1, 6), (4, 1), (2, 4, 6), (), (4, 6, 5, 5), (6, 4)]
    made = [torch.empty(shape, device="meta") for shape in shapes]
    return [*made, made[0].double(), made[0].long(), made[-1].t(), made[6].transpose(1, 2)]


def _layout(result: Any) -> Any:  # noqa: ANN401 - of an operation
    """Shape, strides and type of every tensor of a result."""
    if isinstance(result, torch.Tensor):
        return tuple(result.shape), result.stride(), result.dtype
    return [_layout(each) for each in result]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_shortcuts_of_arithmetic_are_torch_s_own(name: str) -> None:
    operation = getattr(torch.ops.aten, name).Tensor
    tried = 0
    for left in _tensors():
        for right in (*_tensors(), 2.5, 3):
            found = meta_shortcuts.SHORTCUTS[operation](left, right)
            if found is not NotImplemented:
                assert _layout(found) == _layout(operation(left, right)), (left, right)
                tried += 1
    assert tried > 30


def test_shortcuts_of_layers_are_torch_s_own() -> None:
    aten = torch.ops.aten
    table, row, image = (_tensors()[place] for place in (0, 1, 6))
    square, channels = torch.empty(6, 6, device="meta"), torch.empty(6, device="meta")
    calls = [
        *((operation, (table,)) for operation in _unary()),
        (aten.addmm.default, (row, table, square)),
        (aten.native_layer_norm.default, (table, [6], row, row, 1e-5)),
        (aten.native_layer_norm.default, (table, [4, 6], None, None, 1e-5)),
        (aten.native_group_norm.default, (image, channels, channels, 4, 6, 25, 3, 1e-5)),
        *(
            (aten.native_batch_norm.default, (image, *[channels] * 4, mode, 0.1, 1e-5))
            for mode in (True, False)
        ),
    ]
    for operation, arguments in calls:
        found = meta_shortcuts.SHORTCUTS[operation](*arguments)

        assert _layout(found) == _layout(operation(*arguments)), operation


def _unary() -> list[Any]:
    shortcuts = meta_shortcuts.SHORTCUTS.items()
    return [
        each for each, call in shortcuts if call.__name__ == "_alike" and "softmax" not in str(each)
    ]


def test_a_convolution_of_too_many_sides_is_refused_as_on_a_device() -> None:
    """torch's own meta lets it pass."""
    x, weight = torch.empty(2, 3, 8, device="meta"), torch.empty(4, 3, 3, device="meta")
    operation = torch.ops.aten.convolution.default
    for sides in ([1, 1], [1, 1, 1]):
        with pytest.raises(TypeError, match=r"stride \[1, 1.* for 1 dimensions"):
            meta_shortcuts.run(operation, (x, weight, None, sides, [0], [1], False, [0], 1), {})
    whole = meta_shortcuts.run(operation, (x, weight, None, [2], [0], [1], False, [0], 1), {})
    assert list(whole.shape) == [2, 4, 3]


def test_what_is_not_usual_is_left_to_torch() -> None:
    aten = torch.ops.aten
    table, row = _tensors()[0], _tensors()[1]
    calls = [
        (aten.relu.default, (table.long(),)),
        (aten.addmm.default, (row, table, table)),
        (aten.native_layer_norm.default, (table, [5], None, None, 1e-5)),
    ]
    for operation, arguments in calls[:1] + calls[2:]:
        assert meta_shortcuts.SHORTCUTS[operation](*arguments) is NotImplemented
    with pytest.raises(RuntimeError):
        meta_shortcuts.run(*calls[1], {})
