"""Measures as text, no wider than a terminal. Pure."""

from collections.abc import Sequence

from twofold import evaluation
from twofold.cli import render
from twofold.evaluation import Classification, ClassScore, MultiLabel, Regression

#: Classes whose whole confusion matrix is shown; of more, the pairs that are confused most.
MATRIX_CLASSES = 12
PAIRS = 12
#: Characters of a label above a column of the matrix, and anywhere else.
_HEAD_WIDTH, _LABEL_WIDTH = 7, 32


def text(measured: Classification | MultiLabel | Sequence[Regression]) -> str:
    """All measures."""
    if isinstance(measured, MultiLabel):
        return f"{_summary_of_labels(measured)}\n\n{_classes(measured.labels)}"
    if isinstance(measured, Classification):
        parts = (
            _summary(measured),
            _classes(measured.classes),
            _confusion(measured),
            _bins(measured),
        )
        return "\n\n".join(parts)
    return "\n\n".join(map(_regression, measured))


def _summary(measured: Classification) -> str:
    auc = measured.roc_auc
    return render.pairs(
        {
            "rows": f"{measured.row_count:,}",
            "accuracy": _part(measured.accuracy),
            "F1": f"macro {_part(measured.macro_f1)}  micro {_part(measured.micro_f1)}  "
            f"weighted {_part(measured.weighted_f1)}",
            "log loss": f"{render.figure(measured.log_loss)} nats",
            "Brier score": f"{render.figure(measured.brier)} of 2",
            "calibration error": f"{_part(measured.calibration_error)} (expected, "
            f"{evaluation.BINS} bins)",
            "ROC AUC": "" if auc is None else _part(auc),
        }
    )


def _summary_of_labels(measured: MultiLabel) -> str:
    return render.pairs(
        {
            "rows": f"{measured.row_count:,}",
            "accuracy": f"{_part(measured.accuracy)} (every label right)",
            "Hamming loss": _part(measured.hamming_loss),
            "F1": f"macro {_part(measured.macro_f1)}  micro {_part(measured.micro_f1)}",
            "log loss": f"{render.figure(measured.log_loss)} nats",
        }
    )


def _classes(scores: Sequence[ClassScore]) -> str:
    rows = [
        (_cut(score.label), *map(_part, (score.precision, score.recall, score.f1)), score.support)
        for score in scores
    ]
    return render.table(("label", "precision", "recall", "F1", "rows"), rows)


def _confusion(measured: Classification) -> str:
    labels = [score.label for score in measured.classes]
    if len(labels) <= MATRIX_CLASSES:
        header = ("truth \\ answer", *(_cut(label, _HEAD_WIDTH) for label in labels))
        rows = [
            (_cut(label), *(count or "." for count in counts))
            for label, counts in zip(labels, measured.confusion, strict=True)
        ]
        return _plain_table(header, rows)
    wrong = [
        (count, _cut(labels[truth]), _cut(labels[answer]))
        for truth, counts in enumerate(measured.confusion)
        for answer, count in enumerate(counts)
        if count and truth != answer
    ]
    most = sorted(wrong, key=lambda entry: -entry[0])[:PAIRS]
    rows = [(truth, answer, count) for count, truth, answer in most]
    title = f"most confused of {len(labels)} labels (--json has all)"
    return f"{title}\n" + render.table(("truth", "answer", "rows"), rows)


def _plain_table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Like render.table, but labels stay as they are written, and numbers stand to the right."""
    lines = [[render.one_line(str(cell)) for cell in line] for line in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )


def _bins(measured: Classification) -> str:
    rows = [
        (f"{found.low:.2f}-{found.high:.2f}", found.count, _part(found.confidence),
         _part(found.accuracy), f"{found.accuracy - found.confidence:+.3f}")
        for found in measured.bins
        if found.count
    ]  # fmt: skip
    return render.table(("probability", "rows", "confidence", "accuracy", "gap"), rows)


def _regression(measured: Regression) -> str:
    quantiles = zip(evaluation.QUANTILES, measured.residual_quantiles, strict=True)
    shown = "  ".join(f"{part:.0%} {render.figure(value)}" for part, value in quantiles)
    return render.pairs(
        {
            "target": measured.target,
            "rows": f"{measured.row_count:,}",
            "RMSE": render.figure(measured.rmse),
            "MAE": render.figure(measured.mae),
            "median |error|": render.figure(measured.median_absolute_error),
            "R2": render.figure(measured.r2),
            "answer - truth": shown,
        }
    )


def _part(value: float) -> str:
    return f"{value:.4f}"


def _cut(label: str, width: int = _LABEL_WIDTH) -> str:
    return label if len(label) <= width else label[: width - 1] + "…"
