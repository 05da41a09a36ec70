import queue
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from inferer import engine as engines
from inferer import preparation
from inferer.app import App
from inferer.convert import signature_of
from inferer.engine import Engine
from inferer.forms import choice as choices
from inferer.lane import Executed
from inferer.program import NetProgram
from tests.inferer import artifacts
from tests.inferer.fakes import never
from tests.twofold import arrays
from twofold import config
from twofold.errors import Corrupt
from twofold.golden import Golden, tolerance_for
from twofold.nets import bounds, meta
from twofold.nets.net import Net
from twofold.tensors import Array
from twofold.v1 import graph_pb2, model_pb2

Made = tuple[model_pb2.FeatureSpec, Net]


def load(made: Made, **files: bytes) -> NetProgram:
    """Loads an artifact as published, with some of its files replaced; replayed and warm."""
    changed = {name.replace("_", "."): data for name, data in files.items()}
    contents = {**artifacts.files_of(*made), **changed}
    manifest = artifacts.manifest_of("m", *made, contents)
    with Engine() as engine:
        program = engine.load(manifest, contents)
        examples = Golden.parse(contents["golden.safetensors"], signature_of(manifest, 64))
        program.replay(examples, tolerance_for(manifest, engine.device_type))
        program.warm_up(examples)
        return program


def an_image() -> Made:
    return artifacts.module(arrays.conv(maps=True), "dark", "bright")


def identifiers() -> Made:
    graph = arrays.tokens()
    graph.head = graph_pb2.HEAD_SOFTMAX
    return artifacts.module(graph, "dark", "bright")


@pytest.mark.parametrize(
    "make",
    [
        artifacts.classifier,
        lambda: artifacts.constant(3),
        artifacts.labels,
        artifacts.pair,
        an_image,
        identifiers,
    ],
    ids=[
        "columns",
        "a number",
        "several labels",
        "two targets",
        "images and raw outputs",
        "identifiers",
    ],
)
def test_each_request_of_a_batch_gets_its_own_rows(make: Callable[[], Made]) -> None:
    spec, net = made = make()
    program = load(made)
    whole = artifacts.raw_inputs(spec, 6)
    expected = artifacts.answer(spec, net, whole)
    cuts = [slice(0, 1), slice(1, 4), slice(4, 6)]

    executed = program.run([{k: rows[cut] for k, rows in whole.items()} for cut in cuts])

    for cut, result in zip(cuts, executed.results, strict=True):
        assert not isinstance(result, Exception)
        assert result.keys() == expected.keys()
        for name, rows in result.items():
            if rows.dtype.kind == "O":
                assert rows.tolist() == expected[name][cut].tolist()
            else:
                np.testing.assert_allclose(rows, expected[name][cut], rtol=1e-5, atol=1e-6)
    assert executed.timing.infer_ns > 0


def test_a_graph_with_other_inputs_or_outputs_than_the_manifest_is_refused() -> None:
    made = an_image()
    contents = artifacts.files_of(*made)
    manifest = artifacts.manifest_of("m", *made, contents)
    with Engine() as engine:
        assert engine.load(manifest, contents)
        manifest.outputs[1].shape[1] = 5
        with pytest.raises(Corrupt, match="signature"):
            engine.load(manifest, contents)
        manifest.outputs[1].shape[1] = 4
        manifest.inputs[0].name = manifest.features.array_columns[0].name = "other"
        with pytest.raises(Corrupt, match="the graph's inputs are not those"):
            engine.load(manifest, contents)


def test_the_batch_of_a_warm_up_is_smaller_where_rows_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    run = NetProgram._run

    def counted(self: NetProgram, parts: Sequence[Mapping[str, Array]]) -> Executed:
        sizes.append(len(next(iter(parts[0].values()))))
        return run(self, parts)

    monkeypatch.setattr(NetProgram, "_run", counted)
    load(an_image())
    fast = max(sizes)
    sizes.clear()
    monkeypatch.setattr(preparation, "_WARM_UP_S", 0.0)
    load(an_image())

    assert (fast, sizes[0], max(sizes[1:])) == (64, 4, 2)


def known(engine: Engine, made: Made) -> NetProgram:
    """Loaded by an engine that may know its graph."""
    contents = artifacts.files_of(*made)
    manifest = artifacts.manifest_of("m", *made, contents)
    program = engine.load(manifest, contents)
    examples = Golden.parse(contents["golden.safetensors"], signature_of(manifest, 64))
    program.replay(examples, tolerance_for(manifest, engine.device_type))
    program.warm_up(examples)
    return program


def test_of_a_known_graph_only_the_weights_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    (spec, one), (_, two) = artifacts.classifier(1), artifacts.classifier(2)
    rows = artifacts.raw_inputs(spec, 3)
    with Engine() as engine:
        first = known(engine, (spec, one))
        for module, name in ((bounds, "check"), (meta, "measure"), (choices, "measure")):
            monkeypatch.setattr(module, name, never)
        second = known(engine, (spec, two))

    for program, net in ((first, one), (second, two), (first, one)):
        (result,) = program.run([rows]).results
        assert not isinstance(result, Exception)
        expected = artifacts.answer(spec, net, rows)["probabilities"]
        np.testing.assert_allclose(result["probabilities"], expected, rtol=1e-5, atol=1e-6)
    assert second.told == first.told


def test_another_preprocessing_of_the_same_graph_is_another_structure() -> None:
    spec, net = artifacts.classifier()
    other = model_pb2.FeatureSpec.FromString(spec.SerializeToString())
    other.labels[0] = "cow"
    rows = artifacts.raw_inputs(spec, 64)
    with Engine() as engine:
        programs = [known(engine, (each, net)) for each in (spec, other)]

    answers = [program.answer(rows)["label"].ravel().tolist() for program in programs]

    assert {b"cat", b"cow"} <= {*answers[0], *answers[1]}
    assert answers[1] == [b"cow" if label == b"cat" else label for label in answers[0]]


def test_weights_of_a_known_graph_are_checked_like_any() -> None:
    spec, net = artifacts.classifier()
    contents = artifacts.files_of(spec, net)
    manifest = artifacts.manifest_of("m", spec, net, contents)
    other = artifacts.files_of(*artifacts.constant(1))
    with Engine() as engine:
        known(engine, (spec, net))
        contents["weights.safetensors"] = other["weights.safetensors"]
        with pytest.raises(Corrupt, match="the weights"):
            engine.load(manifest, contents)


def test_structures_are_forgotten_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_STRUCTURES", 2)
    with Engine() as engine:
        for columns in (("a",), ("a", "b"), ("a", "b", "c")):
            known(engine, artifacts.constant(1, columns))

    assert len(engine._known) == 2


def test_a_choice_is_found_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(cache=tmp_path) as engine:
        first = known(engine, artifacts.classifier())
    monkeypatch.setattr(choices, "measure", never)
    with Engine(cache=tmp_path) as engine:
        second = known(engine, artifacts.classifier(2))

    assert second.told == first.told
    assert "eager" in second.told["form_reason"]


def test_a_compiler_without_a_private_cache_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o777)

    with Engine(cache=tmp_path, is_compiling=True) as engine:
        program = known(engine, artifacts.constant(2))

    assert program.answer({"x": np.zeros((1, 2), np.float32)})["value"] == 2
    assert "networks are not compiled" in caplog.text


def test_not_a_number_stays_in_its_own_row() -> None:
    spec, net = made = artifacts.classifier()
    program = load(made)
    good = artifacts.raw_inputs(spec, 2)
    bad = {name: rows.copy() for name, rows in good.items()}
    bad["x"][0, 0] = np.nan
    bad["x"][1, 0] = np.inf

    results = program.run([bad, good]).results

    assert not isinstance(results[0], Exception)
    assert not isinstance(results[1], Exception)
    assert np.isnan(results[0]["probabilities"][0]).all()
    expected = artifacts.answer(spec, net, good)["probabilities"]
    np.testing.assert_allclose(results[1]["probabilities"], expected, rtol=1e-5, atol=1e-6)


def test_a_request_that_fails_fails_alone() -> None:
    spec, _ = made = artifacts.constant(3)
    program = load(made)
    good = artifacts.raw_inputs(spec, 1)
    broken = {"x": np.zeros((1, 3), np.float32)}

    results = program.run([good, broken, good]).results

    assert [isinstance(result, Exception) for result in results] == [False, True, False]


def test_a_large_network_is_expected_to_take_longer() -> None:
    small, large = load(artifacts.constant(1)), load(artifacts.slow())

    assert small.expected_s(1) < large.expected_s(1)
    assert large.expected_s(1) <= large.expected_s(64)


def test_the_number_of_threads_is_set() -> None:
    before = torch.get_num_threads()
    try:
        with Engine(threads=2):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_other_answers_than_golden_are_refused() -> None:
    made = artifacts.constant(3)
    other = artifacts.files_of(*artifacts.constant(4))

    with pytest.raises(Corrupt, match="golden replay: value is off by 1"):
        load(made, golden_safetensors=other["golden.safetensors"])


@pytest.mark.parametrize("name", ["graph_pb", "weights_safetensors", "golden_safetensors"])
@pytest.mark.parametrize("data", [b"", b"\xff" * 64, b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"])
def test_junk_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(Corrupt):
        load(artifacts.constant(3), **{name: data})


def test_weights_of_another_network_are_refused() -> None:
    other = artifacts.files_of(*artifacts.classifier())

    with pytest.raises(Corrupt, match="the weights"):
        load(artifacts.constant(3), weights_safetensors=other["weights.safetensors"])


def test_a_network_that_cannot_run_its_own_examples_is_refused() -> None:
    wider = artifacts.files_of(*artifacts.constant(3, columns=("a", "b", "c")))

    with pytest.raises(Corrupt, match="does not run on its own examples"):
        load(
            artifacts.constant(3),
            graph_pb=wider["graph.pb"],
            weights_safetensors=wider["weights.safetensors"],
        )


def test_more_labels_than_scores_are_refused() -> None:
    made = artifacts.classifier()
    contents = artifacts.files_of(*made)
    manifest = artifacts.manifest_of("m", *made, contents)
    manifest.features.labels.append("newt")

    with Engine() as engine, pytest.raises(Corrupt, match="4 labels for 3 scores"):
        engine.load(manifest, contents)


def test_a_signature_that_does_not_follow_from_the_columns_is_refused() -> None:
    made = artifacts.constant(3)
    contents = artifacts.files_of(*made)
    manifest = artifacts.manifest_of("m", *made, contents)
    manifest.features.numeric_columns.append("c")

    with Engine() as engine, pytest.raises(Corrupt, match="signature"):
        engine.load(manifest, contents)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_does_not_start() -> None:
    with pytest.raises(ValueError, match="no CUDA device"):
        Engine(device="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
async def test_a_process_told_to_use_it_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWOFOLD_STORE", str(tmp_path))
    monkeypatch.setenv("TWOFOLD_INFER_DEVICE", "cuda")
    settings = config.read(config.InfererSettings)

    with pytest.raises(config.UnusableSettings, match="TWOFOLD_INFER_DEVICE"):
        await App(settings).run()


@pytest.mark.parametrize("where", ["loader", "slow", "aside"])
def test_no_thread_computes_with_more_threads_than_are_set(where: str) -> None:
    """The first that a thread computes is a product: it must not make threads for it."""

    def made_threads() -> int:
        before = len([*Path("/proc/self/task").iterdir()])
        torch.nn.functional.linear(torch.ones(64, 128), torch.ones(128, 128))
        return len([*Path("/proc/self/task").iterdir()]) - before

    found: queue.SimpleQueue[int] = queue.SimpleQueue()
    with Engine(threads=1) as engine:
        submit = {
            "loader": engine.loader.submit,
            "slow": engine.slow.executor.submit,
            "aside": engine._aside.submit,
        }[where]
        submit(lambda: found.put(made_threads()))

        assert found.get(timeout=10) == 0
