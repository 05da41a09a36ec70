"""Makes the files of this folder again: `python examples/data/make.py`.

Needs pyarrow, and for the digits and their stratified split scikit-learn; see README.md for where
the digits come from.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
TEST_ROWS = 360
SEED = 0


def main() -> None:
    """Writes every file."""
    digits()
    digits_images()
    plane()
    exam()
    moons()
    flats()
    waves()


def digits() -> None:
    """The handwritten digits: all rows, and a stratified split of them."""
    # The one place that needs it.
    from sklearn.datasets import load_digits  # noqa: PLC0415 - see above
    from sklearn.model_selection import train_test_split  # noqa: PLC0415 - see above

    pixels, labels = load_digits(return_X_y=True)
    places = np.arange(len(labels))
    train, test = train_test_split(places, test_size=TEST_ROWS, random_state=SEED, stratify=labels)
    splits = {"digits": places, "digits_train": np.sort(train), "digits_test": np.sort(test)}
    for name, rows in splits.items():
        chosen = pixels[rows].astype(np.uint8)
        columns = {f"p{place}": pa.array(chosen[:, place]) for place in range(64)}
        columns["label"] = pa.array(labels[rows].astype(np.int64))
        pq.write_table(pa.table(columns), HERE / f"{name}.parquet", compression="zstd")


def digits_images() -> None:
    """The training rows of the digits as images [1, 8, 8], from digits_train.parquet."""
    table = pq.read_table(HERE / "digits_train.parquet")
    pixels = np.stack([table[f"p{place}"].to_numpy() for place in range(64)], axis=1)
    images = pixels.reshape(-1, 1, 8, 8).astype(np.float32)
    labels = table["label"].to_numpy()
    np.savez_compressed(HERE / "digits_images.npz", image=images, label=labels)


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


def flats() -> None:
    """Flats in 40 districts and what they cost in a month, 1,000: 1,200 rows.

    Each district has a price per square metre of its own and each kind of heating a factor, so that
    the rent is a product which no sum over columns gives.
    """
    random = np.random.default_rng(SEED)
    prices, factors = random.uniform(0.006, 0.024, 40), np.array([0.8, 1.0, 1.1, 1.25])
    heatings = np.array(["stove", "coal", "gas", "remote"])
    place, heating = random.integers(40, size=1200), random.integers(4, size=1200)
    area, age = random.uniform(20, 120, 1200), random.uniform(0, 100, 1200)
    rent = area * prices[place] * factors[heating] * (1 - age / 400)
    rent += random.normal(0, 0.03, 1200)
    names = [f"district {number:02}" for number in place]
    rows = zip(names, heatings[heating], area, age, rent, strict=True)
    write("flats.csv", "district,heating,area,age,rent", rows)


def waves() -> None:
    """Sines, squares and sawtooths of any phase, period and size, with noise: 900 x [48, 1]."""
    random = np.random.default_rng(SEED)
    kind = np.arange(900) % 3
    period, phase, size = random.uniform([[8], [0], [0.5]], [[24], [1], [2]], (3, 900))
    turn = (np.arange(48) / period[:, np.newaxis] + phase[:, np.newaxis]) % 1
    forms = np.stack([np.sin(2 * np.pi * turn), np.sign(turn - 0.5), 2 * turn - 1])
    chosen = forms[kind, np.arange(900)] * size[:, np.newaxis]
    chosen += random.normal(0, 0.2, chosen.shape)
    labels = np.array(["sine", "square", "sawtooth"])[kind]
    sequences = chosen[..., np.newaxis].astype(np.float32)
    np.savez_compressed(HERE / "waves.npz", wave=sequences, label=labels)


def write(name: str, header: str, rows: "zip[tuple[object, ...]]") -> None:
    """Writes a CSV file; numbers have four decimals."""
    lines = [
        ",".join(cell if isinstance(cell, str) else f"{cell:.4f}" for cell in row) for row in rows
    ]
    (HERE / name).write_text("\n".join([header, *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
