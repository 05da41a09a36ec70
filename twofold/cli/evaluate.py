"""`twofold evaluate`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import typer

from twofold import evaluation, features
from twofold.cli import bulk, counting, reports, rows
from twofold.cli import reference as references
from twofold.cli.bulk import Answer
from twofold.cli.group import client_of
from twofold.cli.predict import wanted_of
from twofold.client.predictions import Rows, Signature
from twofold.errors import InvalidData, InvalidField, shorten
from twofold.tensors import Array


def evaluate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[@VERSION|@ALIAS]", help="Default: the version served at the time."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            metavar="FILE|-", help="Rows with their truth: .csv, .parquet, .npz, - for CSV."
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="The truth, repeatable; default: the model's own."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write the JSON there, too."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Measure a served version on rows whose truth is known.

    The rows go through the inferer, so that what is measured is what is served; all of them to the
    version that was served when the command began. Classifiers: accuracy, precision, recall and F1,
    confusion matrix, log loss, Brier score, calibration, ROC AUC of two labels. Regressions: RMSE,
    MAE, R2, median absolute error and residuals of each target. Several labels a row: accuracy,
    Hamming loss, F1, log loss; precision, recall, F1 of each label.

    Example: twofold evaluate digits --data examples/data/digits_test.parquet

    Example: twofold evaluate digits@1 --data examples/data/digits_test.parquet --json
    """
    with client_of(context) as client:
        asking = bulk.Asking(client, references.parse(model), is_pinned=True)
        signature = asking.signature
        described = rows.describe(data)
        targets = _targets(target, signature, described.columns)
        batches = rows.batches(data, _wanted(signature, targets), asking.batch_rows())
        with counting.counted(described.row_count) as count:
            pairs = _counted(bulk.in_order(asking, batches), count)
            measured = _measured(pairs, signature, targets)
    text = _json(signature, measured)
    if out is not None:
        _write(out, text)
    typer.echo(text if as_json else reports.text(measured))


def _require_judged(signature: Signature) -> None:
    """Raises InvalidField where answers are raw: nobody says what they mean."""
    needed = ("probabilities", "label") if signature.labels else ("value",)
    if signature.outputs and not set(needed) <= set(signature.outputs):
        shown = f"{signature.model}, which answers {shorten(', '.join(signature.outputs))}"
        raise InvalidField.of("model", shown, f"a model that answers {' and '.join(needed)}")


def _wanted(signature: Signature, targets: tuple[str, ...]) -> rows.Wanted:
    wanted = wanted_of(signature, targets if signature.labels else ())
    if signature.labels:
        return wanted
    return replace(wanted, numeric=(*wanted.numeric, *targets))


def _targets(
    named: Sequence[str] | None, signature: Signature, columns: Sequence[str]
) -> tuple[str, ...]:
    _require_judged(signature)
    targets = tuple(named or signature.targets or filter(None, [signature.target]))
    if not targets:
        raise typer.BadParameter("the model does not say its target; name it: --target COLUMN")
    if _is_multilabel(signature):
        if len(targets) != len(signature.labels):
            labels = ", ".join(signature.labels)
            raise typer.BadParameter(f"--target is needed for each of its labels: {labels}")
    elif signature.labels and len(targets) > 1:
        raise typer.BadParameter("a classifier has one target")
    _require_truth(columns, targets)
    return targets


def _require_truth(columns: Sequence[str], targets: Sequence[str]) -> None:
    """Raises InvalidData where a file's columns are known, and the truth is none of them."""
    missing = [name for name in targets if columns and name not in columns]
    if missing:
        text = f"column {missing[0]} is missing; it is what answers are compared with"
        raise InvalidData(f"{text}, name another by --target COLUMN", column=missing[0])


Pairs = Iterable[tuple[Mapping[str, Array], Answer]]
Measured = evaluation.Classification | evaluation.MultiLabel | tuple[evaluation.Regression, ...]
_FLAGS = {"0": False, "false": False, "0.0": False, "1": True, "true": True, "1.0": True}


def _is_multilabel(signature: Signature) -> bool:
    return signature.task == "multilabel"


def _counted(pairs: Iterable[tuple[Rows, Answer]], count: counting.Count) -> Pairs:
    for batch, answer in pairs:
        yield cast("Mapping[str, Array]", batch), answer  # targets have names, so columns have
        count(bulk.row_count(batch), answer.prediction.version)


def _measured(pairs: Pairs, signature: Signature, targets: tuple[str, ...]) -> Measured:
    """Keeps a float32 per class (or two per target) and row; raises InvalidData without rows."""
    if _is_multilabel(signature):
        return _labelled(pairs, signature.labels, targets)
    if signature.labels:
        return _classified(pairs, signature.labels, targets[0])
    values: list[Array] = []
    truths: list[Array] = []
    for batch, answer in pairs:
        values.append(answer.prediction.value)
        truths.append(np.stack([batch[name] for name in targets], axis=1))
    value, truth = _joined(values), _joined(truths)
    if value.shape[1] != len(targets):
        allowed = f"{value.shape[1]} columns, as the model has targets"
        raise InvalidField.of("target", ", ".join(targets), allowed)
    return evaluation.regression(value, truth, targets)


def _classified(pairs: Pairs, labels: tuple[str, ...], target: str) -> evaluation.Classification:
    index = {label: place for place, label in enumerate(labels)}
    probabilities: list[Array] = []
    answers: list[Array] = []
    truths: list[Array] = []
    first = 1
    for batch, answer in pairs:
        probabilities.append(answer.prediction.probabilities)
        answered = cast("list[str]", answer.prediction.labels.tolist())
        answers.append(_indices(answered, index, first, "the model's answer"))
        cells = [features.label_of(cell) for cell in batch[target].tolist()]
        truths.append(_indices(cells, index, first, f"column {target}"))
        first += len(cells)
    return evaluation.classification(
        _joined(probabilities), _joined(answers), _joined(truths), labels
    )


def _labelled(
    pairs: Pairs, labels: tuple[str, ...], targets: tuple[str, ...]
) -> evaluation.MultiLabel:
    probabilities: list[Array] = []
    answers: list[Array] = []
    truths: list[Array] = []
    first = 1
    for batch, answer in pairs:
        probabilities.append(answer.prediction.probabilities)
        answers.append(answer.prediction.has_label)
        truths.append(np.stack([_flags(batch[name], first, name) for name in targets], axis=1))
        first += len(truths[-1])
    return evaluation.multilabel(_joined(probabilities), _joined(answers), _joined(truths), labels)


def _flags(cells: Array, first: int, column: str) -> Array:
    """Cells as booleans; raises InvalidData for the first that is none."""
    words = [features.label_of(cell).strip().lower() for cell in cells.tolist()]
    for row, word in enumerate(words, start=first):
        if word not in _FLAGS:
            text = f"row {row}, column {column} is {shorten(word)!r}; needed are 0 and 1"
            raise InvalidData(text, row=row, column=column)
    return np.array([_FLAGS[word] for word in words], dtype=np.bool_)


def _indices(found: Sequence[str], index: Mapping[str, int], first: int, what: str) -> Array:
    """Indices of labels; raises InvalidData for the first that is none of them."""
    for row, label in enumerate(found, start=first):
        if label not in index and label.strip() not in index:
            known = ", ".join(list(index)[:10])
            text = f"row {row}, {what} is {shorten(label)!r}; the model's labels: {known}"
            raise InvalidData(text, row=row)
    return np.array([index.get(label, index.get(label.strip(), 0)) for label in found])


def _joined(arrays: Sequence[Array]) -> Array:
    if not arrays:
        raise InvalidData("there are no rows to measure")
    return np.concatenate(arrays)


def _json(signature: Signature, measured: Measured) -> str:
    report = {"model": signature.model, "version": signature.version, **_plain(measured)}
    return json.dumps(report, indent=2, ensure_ascii=False)


def _plain(measured: Measured) -> dict[str, object]:
    if isinstance(measured, evaluation.Classification):
        return {"classification": asdict(measured)}
    if isinstance(measured, evaluation.MultiLabel):
        return {"multilabel": asdict(measured)}
    return {
        "regression": [asdict(found) for found in measured],
        "quantiles": list(evaluation.QUANTILES),
    }


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        message = f"{out} cannot be written: {error.strerror}"
        raise InvalidField(message, field="out", value=out) from error
