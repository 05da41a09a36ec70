"""Others train the same network on the same rows: `training_app.py WAY FOLDER THREADS`.

Answers a line "ROWS EPOCHS BATCH" with the seconds of each epoch. FOLDER holds x.npy (float32
[N, D]) and y.npy (int64 [N]). Runs in an environment of its own, with the torch that Twofold uses.
Each way is written as its own guide writes it; the loops are as fast as they could be made.
"""
# pyright: basic

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAY, FOLDER, THREADS = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
# Read by the libraries as they are imported.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = sys.argv[3]

import numpy as np  # noqa: E402
import torch  # noqa: E402

HIDDEN = (256, 256)
RATE = 1e-3
Seconds = list[float]
Tensors = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[..., torch.Tensor]


def network(width: int, hidden: tuple[int, ...] = HIDDEN, outputs: int = 2) -> torch.nn.Sequential:
    """An MLP that answers logits."""
    layers: list[torch.nn.Module] = []
    for size in hidden:
        layers += [torch.nn.Linear(width, size), torch.nn.ReLU()]
        width = size
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, outputs))


def _loop(loss_of: Loss, eager: Loss, data: Tensors, epochs: int, batch: int) -> Seconds:
    """Resident tensors, a permutation per epoch, rows gathered by index; nothing else."""
    x, y = data
    net = network(x.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, fused=True)
    # Compiled and warm before the time runs.
    loss_of(net, x[:batch], y[:batch]).backward()
    taken_s: Seconds = []
    for _ in range(epochs):
        begun_s = time.perf_counter()
        for rows in torch.randperm(len(x)).split(batch):
            # What is compiled is for one size; the last batch would be compiled once more.
            of_rows = loss_of if len(rows) == batch else eager
            optimizer.zero_grad(set_to_none=True)
            of_rows(net, x.index_select(0, rows), y.index_select(0, rows)).backward()
            optimizer.step()
        taken_s.append(time.perf_counter() - begun_s)
    return taken_s


def _fp32(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(net(x), y)


def _bf16(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(x)
    return torch.nn.functional.cross_entropy(logits.float(), y)


def loop_fp32(data: Tensors, epochs: int, batch: int) -> Seconds:
    """By hand."""
    return _loop(_fp32, _fp32, data, epochs, batch)


def loop_bf16(data: Tensors, epochs: int, batch: int) -> Seconds:
    """By hand, under autocast."""
    return _loop(_bf16, _bf16, data, epochs, batch)


def loop_bf16_compiled(data: Tensors, epochs: int, batch: int) -> Seconds:
    """By hand, under autocast, compiled."""
    torch.compiler.reset()
    return _loop(torch.compile(_bf16, dynamic=False), _bf16, data, epochs, batch)


def _loader(data: Tensors, batch: int) -> torch.utils.data.DataLoader[Any]:
    rows = torch.utils.data.TensorDataset(*data)
    return torch.utils.data.DataLoader(rows, batch_size=batch, shuffle=True)


def dataloader(data: Tensors, epochs: int, batch: int) -> Seconds:
    """The loop of torch's tutorials: a DataLoader over a TensorDataset."""
    net = network(data[0].shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
    loader = _loader(data, batch)
    taken_s: Seconds = []
    for _ in range(epochs):
        begun_s = time.perf_counter()
        for x, y in loader:
            optimizer.zero_grad()
            _fp32(net, x, y).backward()
            optimizer.step()
        taken_s.append(time.perf_counter() - begun_s)
    return taken_s


def lightning(data: Tensors, epochs: int, batch: int) -> Seconds:
    """Lightning's Trainer without logger, checkpoints, bars and summaries."""
    import lightning as pl  # noqa: PLC0415 - only this way needs it

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    taken_s: Seconds = []

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(data[0].shape[1])

        def training_step(self, batch: Tensors, _: int) -> torch.Tensor:
            return _fp32(self.net, *batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=RATE)

        def on_train_epoch_start(self) -> None:
            self.begun_s = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            taken_s.append(time.perf_counter() - self.begun_s)

    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), _loader(data, batch))
    return taken_s


def accelerate(data: Tensors, epochs: int, batch: int) -> Seconds:
    """Hugging Face Accelerate around a DataLoader loop."""
    from accelerate import Accelerator  # noqa: PLC0415 - only this way needs it

    accelerator = Accelerator(cpu=True)
    net = network(data[0].shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
    net, optimizer, loader = accelerator.prepare(net, optimizer, _loader(data, batch))
    taken_s: Seconds = []
    for _ in range(epochs):
        begun_s = time.perf_counter()
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(_fp32(net, x, y))
            optimizer.step()
        taken_s.append(time.perf_counter() - begun_s)
    return taken_s


def skorch(data: Tensors, epochs: int, batch: int) -> Seconds:
    """The classifier without a validation split; its scores of each epoch are its own."""
    from skorch import NeuralNetClassifier  # noqa: PLC0415 - only this way needs it

    net = NeuralNetClassifier(
        network(data[0].shape[1]),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=RATE,
        batch_size=batch,
        max_epochs=epochs,
        train_split=None,
        iterator_train__shuffle=True,
        verbose=0,
    )
    net.fit(data[0].numpy(), data[1].numpy())
    return list(net.history[:, "dur"])


def sklearn(data: Tensors, epochs: int, batch: int) -> Seconds:
    """MLPClassifier: numpy, Adam; the whole fit counts."""
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415 - only this way needs it

    net = MLPClassifier(
        HIDDEN, batch_size=batch, max_iter=epochs, learning_rate_init=RATE, n_iter_no_change=10_000
    )
    x, y = data[0].numpy(), data[1].numpy()
    begun_s = time.perf_counter()
    net.fit(x, y)
    return [(time.perf_counter() - begun_s) / epochs] * epochs


def bare(data: Tensors, epochs: int, batch: int) -> Seconds:
    """A small job by hand: 8 tanh neurons for XOR, 128 and 64 relu for digits; all epochs."""
    x, y = data
    classes = int(y.max()) + 1
    net = network(x.shape[1], (8,) if len(x) <= batch else (128, 64), classes)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
    begun_s = time.perf_counter()
    for _ in range(epochs):
        parts = [None] if len(x) <= batch else torch.randperm(len(x)).split(batch)
        for rows in parts:
            optimizer.zero_grad(set_to_none=True)
            some = x if rows is None else x.index_select(0, rows)
            truth = y if rows is None else y.index_select(0, rows)
            _fp32(net, some, truth).backward()
            optimizer.step()
    return [time.perf_counter() - begun_s]


WAYS = {
    way.__name__: way
    for way in (
        loop_fp32,
        loop_bf16,
        loop_bf16_compiled,
        dataloader,
        lightning,
        accelerate,
        skorch,
        sklearn,
        bare,
    )
}
_PACKAGES = {"sklearn": "scikit-learn"}


def _version() -> str:
    import importlib.metadata  # noqa: PLC0415 - once

    name = _PACKAGES.get(WAY, WAY)
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"torch {torch.__version__}"


def main() -> None:
    """Serves lines of standard input."""
    # Only answers go to standard output; libraries print there, too.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import torch._dynamo  # noqa: PLC0415 - what the first optimizer would import

    # What they say on the way is not what is measured.
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    x = torch.from_numpy(np.load(FOLDER / "x.npy"))
    y = torch.from_numpy(np.load(FOLDER / "y.npy"))
    answers.write(_version() + "\n")
    for line in sys.stdin:
        rows, epochs, batch = map(int, line.split())
        taken_s = WAYS[WAY]((x[:rows], y[:rows]), epochs, batch)
        answers.write(" ".join(f"{one:.6f}" for one in taken_s) + "\n")


if __name__ == "__main__":
    main()
