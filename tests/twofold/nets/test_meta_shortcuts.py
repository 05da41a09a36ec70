"""Shapes that are known without torch's slow ways are those of torch."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Iterable
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


def _like_a_column() -> list[torch.Tensor]:
    """Whole numbers that pick columns, and others that do not."""
    made = [torch.empty(shape, device="meta").long() for shape in ((3,), (0,), (2, 2))]
    return [*made, made[0].int(), made[0].bool()]


def _tried(operation: Any, calls: Iterable[tuple[tuple[Any, ...], dict[str, Any]]]) -> int:  # noqa: ANN401 - of torch
    """How many calls have a shortcut; each is laid out as torch itself does it."""
    tried = 0
    for arguments, options in calls:
        found = meta_shortcuts.SHORTCUTS[operation](*arguments, **options)
        if found is not NotImplemented:
            assert _layout(found) == _layout(operation(*arguments, **options)), arguments
            tried += 1
    return tried


def test_shortcuts_of_tables_are_torch_s_own() -> None:
    """One-hot columns beside numbers, and products of matrices: what most networks begin with."""
    aten, tensors = torch.ops.aten, _tensors()
    pairs = [(left, right) for left in tensors for right in tensors]
    columns = _like_a_column()

    assert _tried(aten.mm.default, ((pair, {}) for pair in pairs if _is_of_floats(pair))) >= 3
    assert _tried(aten.eq.Tensor, ((pair, {}) for pair in pairs)) > 15
    sides = [([*pair], dim) for pair in pairs for dim in (0, 1, -1, 5)]
    assert _tried(aten.cat.default, ((side, {}) for side in sides)) > 15
    assert _tried(aten.cat.default, (((list(pair),), {}) for pair in pairs)) > 3
    kinds = [{"dtype": torch.float32}, {"dtype": torch.int64}, {"memory_format": None}]
    assert _tried(aten._to_copy.default, (((x,), kind) for x in tensors for kind in kinds)) > 10
    picks = [([None, index], [index, None], [None, None, index], [index]) for index in columns]
    calls = [((x, pick), {}) for x in tensors for several in picks for pick in several]
    assert _tried(aten.index.Tensor, calls) > 8


def _is_of_floats(pair: tuple[torch.Tensor, torch.Tensor]) -> bool:
    """check_types refuses others."""
    return pair[0].dtype == pair[1].dtype and pair[0].dtype.is_floating_point


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


@pytest.mark.parametrize(
    ("bias", "is_transposed", "is_fit"),
    [(8, False, True), (6, False, False), (6, True, True), (8, True, False), (None, True, True)],
)
def test_the_bias_of_a_convolution_is_one_number_a_channel(
    bias: int | None, *, is_transposed: bool, is_fit: bool
) -> None:
    x = torch.empty(2, 8 if is_transposed else 4, 9, device="meta")
    weight = torch.empty(8, 3 if is_transposed else 4, 3, device="meta")
    given = None if bias is None else torch.empty(bias, device="meta")
    groups = 2 if is_transposed else 1
    arguments = (x, weight, given, [1], [0], [1], is_transposed, [0], groups)

    if is_fit:
        meta_shortcuts.run(torch.ops.aten.convolution.default, arguments, {})
    else:
        with pytest.raises(TypeError, match="bias"):
            meta_shortcuts.run(torch.ops.aten.convolution.default, arguments, {})
