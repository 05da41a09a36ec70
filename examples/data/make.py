"""Makes the files of this folder again: `python examples/data/make.py`.

Needs scikit-learn (for the digits and the stratified split) and pyarrow; see README.md for where
the digits come from.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
TEST_ROWS = 360
SEED = 0


def main() -> None:
    """Writes every file."""
    digits()
    plane()
    exam()
    moons()


def digits() -> None:
    """The handwritten digits: all rows, and a stratified split of them."""
    pixels, labels = load_digits(return_X_y=True)
    places = np.arange(len(labels))
    train, test = train_test_split(places, test_size=TEST_ROWS, random_state=SEED, stratify=labels)
    splits = {"digits": places, "digits_train": np.sort(train), "digits_test": np.sort(test)}
    for name, rows in splits.items():
        chosen = pixels[rows].astype(np.uint8)
        columns = {f"p{place}": pa.array(chosen[:, place]) for place in range(64)}
        columns["label"] = pa.array(labels[rows].astype(np.int64))
        pq.write_table(pa.table(columns), HERE / f"{name}.parquet", compression="zstd")


def plane() -> None:
    """Rows of z = 2 x - 3 y + 1 with normal noise of deviation 0.1, 400 rows."""
    random = np.random.default_rng(SEED)
    x, y = random.uniform(-1, 1, (2, 400))
    z = 2 * x - 3 * y + 1 + random.normal(0, 0.1, 400)
    write("plane.csv", "x,y,z", zip(x, y, z, strict=True))


def exam() -> None:
    """Hours of study and of sleep, and whether the exam was passed: a logistic model, 400 rows."""
    random = np.random.default_rng(SEED)
    study, sleep = random.uniform(0, 10, 400), random.uniform(4, 9, 400)
    chance = 1 / (1 + np.exp(-(1.5 * (study - 5) + 0.8 * (sleep - 6.5))))
    passed = np.where(random.uniform(size=400) < chance, "yes", "no")
    write("exam.csv", "study,sleep,passed", zip(study, sleep, passed, strict=True))


def moons() -> None:
    """Two interleaved half circles with noise, which no line separates, and a colour: 600 rows."""
    random = np.random.default_rng(SEED)
    angle = random.uniform(0, np.pi, 600)
    upper = np.arange(600) % 2 == 0
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle)) + random.normal(0, 0.1, 600)
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle)) + random.normal(0, 0.1, 600)
    colour = random.choice(["red", "green", "blue"], 600)
    moon = np.where(upper, "upper", "lower")
    write("moons.csv", "x,y,colour,moon", zip(x, y, colour, moon, strict=True))


def write(name: str, header: str, rows: "zip[tuple[object, ...]]") -> None:
    """Writes a CSV file; numbers have four decimals."""
    lines = [
        ",".join(cell if isinstance(cell, str) else f"{cell:.4f}" for cell in row) for row in rows
    ]
    (HERE / name).write_text("\n".join([header, *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
