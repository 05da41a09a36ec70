"""Predictions through the blocking client: what is sent, what comes back."""

import numpy as np
import pytest

from tests.twofold.client.serving import Servers
from twofold import errors
from twofold.client import Client


def test_predict_answers_in_numpy_with_version(client: Client, servers: Servers) -> None:
    prediction = client.predict("digits", np.array([[2, 1], [1, 2]]), version=3)

    assert prediction.labels.tolist() == ["yes", "no"]
    np.testing.assert_array_equal(
        prediction.probabilities, np.array([[0, 1], [1, 0]], dtype=np.float32)
    )
    assert (prediction.model, prediction.version) == ("digits", 3)
    assert prediction.parameters == {"compute_us": 12, "device": "cpu"}
    assert servers.inferer.requests[0].model_version == "3"
    assert servers.inferer.inputs[0]["x"].dtype == np.float32


def test_alias_and_regression(client: Client, servers: Servers) -> None:
    servers.inferer.is_regression = True

    prediction = client.predict("digits", [[2.0, 1.0]], alias="stable")

    assert prediction.value.tolist() == [[3.0]]
    assert servers.inferer.requests[0].model_version == ":stable"
    with pytest.raises(errors.InvalidField, match="not both"):
        client.predict("digits", [[2.0, 1.0]], alias="stable", version=1)


def test_columns_are_put_in_the_models_order(client: Client, servers: Servers) -> None:
    servers.inferer.category_columns = ["colour"]
    columns = {"colour": ["red", "grün"], "b": [1, 2], "label": ["yes", "no"], "a": [3, 1]}

    prediction = client.predict("digits", columns)

    assert prediction.labels.tolist() == ["yes", "no"]
    (inputs,) = servers.inferer.inputs
    assert inputs["x"].tolist() == [[3.0, 1.0], [1.0, 2.0]]
    assert inputs["category"].tolist() == [[b"red"], ["grün".encode()]]


def test_columns_are_ordered_anew_when_the_version_changed_meanwhile(
    client: Client, servers: Servers
) -> None:
    """The version is swapped for one with other column order between metadata and inference."""

    def swap() -> None:
        servers.inferer.version = 4
        servers.inferer.numeric_columns = ["b", "a"]

    servers.inferer.on_infer = swap

    prediction = client.predict("digits", {"a": [2.0], "b": [1.0]})

    assert prediction.version == 4
    assert servers.inferer.inputs[-1]["x"].tolist() == [[1.0, 2.0]]


def test_version_that_always_changes_is_given_up(client: Client, servers: Servers) -> None:
    def swap() -> None:
        servers.inferer.version += 1

    servers.inferer.on_infer = swap

    with pytest.raises(errors.Unavailable, match="changes too fast"):
        client.predict("digits", {"a": [2.0], "b": [1.0]})


def test_inference_tells_about_the_server(client: Client) -> None:
    inference = client.inference

    assert inference.is_live()
    assert inference.is_ready()
    assert inference.is_model_ready("digits")
    assert not inference.is_model_ready("other")
    assert inference.server_metadata().name == "twofold"
    assert inference.metadata("digits").platform == "twofold_torch"
    assert inference.signature("digits").labels == ("no", "yes")
    assert inference.config("digits").config.name == "digits"
    assert inference.statistics("digits", "3")[0].version == "3"
    assert len(inference.index()) == 2
    assert len(inference.index(is_ready=True)) == 1


IMAGES = np.arange(-6, 6).reshape(2, 2, 1, 3)


def test_arrays_are_sent_as_they_are_and_raw_outputs_come_back(
    client: Client, servers: Servers
) -> None:
    servers.inferer.arrays, servers.inferer.is_raw = {"image": ("FP32", [2, 1, 3])}, True

    prediction = client.predict("digits", {"image": IMAGES.astype(np.uint8)})

    (sent,) = servers.inferer.inputs
    assert (sent["image"].dtype, sent["image"].shape) == (np.float32, (2, 2, 1, 3))
    assert prediction.outputs["maps"].shape == (2, 2, 1, 3)
    assert prediction.outputs["total"].shape == (2,)
    with pytest.raises(KeyError):
        _ = prediction.labels


def test_an_array_alone_is_input_x(client: Client, servers: Servers) -> None:
    servers.inferer.arrays = {"x": ("INT64", [2, 1, 3])}

    assert client.predict("digits", IMAGES).labels.tolist() == ["no", "yes"]
    assert servers.inferer.inputs[0]["x"].dtype == np.int64


def test_arrays_beside_columns_are_cast_as_the_model_has_them(
    client: Client, servers: Servers
) -> None:
    servers.inferer.arrays = {"image": ("FP32", [2, 1, 3]), "ids": ("INT64", [2])}
    columns = {"a": [1, 2], "b": [3, 4], "image": IMAGES, "ids": np.ones((2, 2), np.int8)}

    client.predict("digits", columns)

    sent = servers.inferer.inputs[0]
    assert {name: (array.dtype, array.shape) for name, array in sent.items()} == {
        "x": (np.float32, (2, 2)),
        "image": (np.float32, (2, 2, 1, 3)),
        "ids": (np.int64, (2, 2)),
    }
    with pytest.raises(errors.InvalidTensor, match="column ids is missing; digits needs a, b, "):
        client.predict("digits", {name: columns[name] for name in ("a", "b", "image")})
    with pytest.raises(errors.InvalidTensor, match="column image has shape"):
        client.predict("digits", {**columns, "image": [1, 2]})
    with pytest.raises(errors.InvalidTensor, match="different numbers of rows"):
        client.predict("digits", {**columns, "image": IMAGES[:1]})
