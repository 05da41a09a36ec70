"""Names and shapes of the parameters and buffers of every permitted module. No torch.

Plain integers, so that a graph's size is known before anything is allocated. The names are those of
torch's state_dict(); a test compares them with torch for every class.
"""

from collections.abc import Callable, Mapping
from typing import cast

from twofold.nets.tables_base import INT64, Given, StateShape

States = Mapping[str, StateShape]
Formula = Callable[[Given], States]


def integer(given: Given, name: str) -> int:
    """An accepted integer argument."""
    return cast("int", given[name])


def integers(given: Given, name: str, count: int = 1) -> tuple[int, ...]:
    """An accepted argument that is one integer for `count` dimensions, or one for each."""
    value = given[name]
    return value if isinstance(value, tuple) else (cast("int", value),) * count  # pyright: ignore[reportReturnType] - accepted


def none(given: Given) -> States:
    """No state."""
    del given
    return {}


def _pair(weight: tuple[int, ...], bias: int | None) -> States:
    states = {"weight": StateShape(weight)}
    return states if bias is None else {**states, "bias": StateShape((bias,))}


def _below(prefix: str, states: States) -> States:
    return {f"{prefix}.{name}": state for name, state in states.items()}


def linear(given: Given) -> States:
    """Linear."""
    out = integer(given, "out_features")
    return _pair((out, integer(given, "in_features")), out if given["bias"] else None)


def bilinear(given: Given) -> States:
    """Bilinear."""
    out = integer(given, "out_features")
    weight = (out, integer(given, "in1_features"), integer(given, "in2_features"))
    return _pair(weight, out if given["bias"] else None)


def prelu(given: Given) -> States:
    """PReLU."""
    return {"weight": StateShape((integer(given, "num_parameters"),))}


def conv(dimensions: int, *, is_transposed: bool = False) -> Formula:
    """ConvNd and ConvTransposeNd."""

    def states(given: Given) -> States:
        inner, outer = integer(given, "in_channels"), integer(given, "out_channels")
        groups = integer(given, "groups")
        first, second = (inner, outer // groups) if is_transposed else (outer, inner // groups)
        kernel = integers(given, "kernel_size", dimensions)
        return _pair((first, second, *kernel), outer if given["bias"] else None)

    return states


def batch_norm(given: Given) -> States:
    """BatchNormNd and InstanceNormNd."""
    width = (integer(given, "num_features"),)
    states: dict[str, StateShape] = {}
    if given["affine"]:
        states |= _pair(width, width[0] if given["bias"] else None)
    if given["track_running_stats"]:
        states["running_mean"] = StateShape(width, is_trainable=False)
        states["running_var"] = StateShape(width, is_trainable=False)
        states["num_batches_tracked"] = StateShape((), INT64, is_trainable=False)
    return states


def layer_norm(given: Given) -> States:
    """LayerNorm, and RMSNorm, which has no bias."""
    if not given["elementwise_affine"]:
        return {}
    shape = StateShape(integers(given, "normalized_shape"))
    return {"weight": shape, "bias": shape} if given.get("bias") else {"weight": shape}


def group_norm(given: Given) -> States:
    """GroupNorm."""
    width = integer(given, "num_channels")
    return _pair((width,), width if given["bias"] else None) if given["affine"] else {}


def embedding(given: Given) -> States:
    """Embedding and EmbeddingBag."""
    shape = (integer(given, "num_embeddings"), integer(given, "embedding_dim"))
    return {"weight": StateShape(shape)}


def cell(gates: int) -> Formula:
    """RNNCell, LSTMCell and GRUCell of so many gates."""

    def states(given: Given) -> States:
        hidden = integer(given, "hidden_size")
        width = gates * hidden
        found = {
            "weight_ih": StateShape((width, integer(given, "input_size"))),
            "weight_hh": StateShape((width, hidden)),
        }
        if given["bias"]:
            found |= {"bias_ih": StateShape((width,)), "bias_hh": StateShape((width,))}
        return found

    return states


def recurrent(gates: int) -> Formula:
    """RNN, LSTM and GRU of so many gates."""

    def states(given: Given) -> States:
        hidden = integer(given, "hidden_size")
        projected = cast("int", given.get("proj_size", 0)) or hidden
        directions = ("", "_reverse") if given["bidirectional"] else ("",)
        found: dict[str, StateShape] = {}
        width = integer(given, "input_size")
        for layer in range(integer(given, "num_layers")):
            for direction in directions:
                end = f"l{layer}{direction}"
                found[f"weight_ih_{end}"] = StateShape((gates * hidden, width))
                found[f"weight_hh_{end}"] = StateShape((gates * hidden, projected))
                if given["bias"]:
                    found[f"bias_ih_{end}"] = StateShape((gates * hidden,))
                    found[f"bias_hh_{end}"] = StateShape((gates * hidden,))
                if projected != hidden:
                    found[f"weight_hr_{end}"] = StateShape((projected, hidden))
            width = projected * len(directions)
        return found

    return states


def attention(given: Given) -> States:
    """MultiheadAttention."""
    width = integer(given, "embed_dim")
    kdim = width if given["kdim"] is None else integer(given, "kdim")
    vdim = width if given["vdim"] is None else integer(given, "vdim")
    square = StateShape((width, width))
    found = {"in_proj_weight": StateShape((3 * width, width))}
    if (kdim, vdim) != (width, width):
        found = {
            "q_proj_weight": square,
            "k_proj_weight": StateShape((width, kdim)),
            "v_proj_weight": StateShape((width, vdim)),
        }
    found["out_proj.weight"] = square
    if given["bias"]:
        found["in_proj_bias"] = StateShape((3 * width,))
        found["out_proj.bias"] = StateShape((width,))
    if given["add_bias_kv"]:
        found["bias_k"] = found["bias_v"] = StateShape((1, 1, width))
    return found


def encoder_layer(given: Given) -> States:
    """TransformerEncoderLayer."""
    return _layer(given, ("self_attn",))


def decoder_layer(given: Given) -> States:
    """TransformerDecoderLayer."""
    return _layer(given, ("self_attn", "multihead_attn"))


def _layer(given: Given, attentions: tuple[str, ...]) -> States:
    width, inner = integer(given, "d_model"), integer(given, "dim_feedforward")
    has_bias = bool(given["bias"])
    heads = attention(
        {"embed_dim": width, "bias": has_bias, "kdim": None, "vdim": None, "add_bias_kv": False}
    )
    found: dict[str, StateShape] = {}
    for name in attentions:
        found |= _below(name, heads)
    found |= _below("linear1", _pair((inner, width), inner if has_bias else None))
    found |= _below("linear2", _pair((width, inner), width if has_bias else None))
    for index in range(len(attentions) + 1):
        found |= _below(f"norm{index + 1}", _norm(given))
    return found


def _norm(given: Given) -> States:
    width = integer(given, "d_model")
    return _pair((width,), width if given["bias"] else None)


def stack(layer: Formula) -> Formula:
    """TransformerEncoder and TransformerDecoder of such layers; their own norm has a bias."""

    def states(given: Given) -> States:
        found = _layers(layer(given), integer(given, "num_layers"))
        norm = _below("norm", _norm({**given, "bias": True}))
        return {**found, **norm} if given["norm"] else found

    return states


def transformer(given: Given) -> States:
    """Transformer: both of its stacks end in a norm."""
    found: dict[str, StateShape] = {}
    for name, layer in (("encoder", encoder_layer), ("decoder", decoder_layer)):
        count = integer(given, f"num_{name}_layers")
        found |= _below(name, {**_layers(layer(given), count), **_below("norm", _norm(given))})
    return found


def _layers(layer: States, count: int) -> States:
    return {
        f"layers.{index}.{name}": state for index in range(count) for name, state in layer.items()
    }
