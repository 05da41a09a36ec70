"""Other ways to train on the device of bench.gpu; each answers rows per second, or is not there."""
# pyright: basic

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

Tensors = tuple[torch.Tensor, torch.Tensor]
#: Steps before the time runs.
_WARM_UP = 2


def network(width: int, hidden: list[int]) -> torch.nn.Sequential:
    """An MLP that answers logits of two classes."""
    layers: list[torch.nn.Module] = []
    for size in hidden:
        layers += [torch.nn.Linear(width, size), torch.nn.ReLU()]
        width = size
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 2))


def settle(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(step: Callable[[], None], device: torch.device, seconds: float) -> float:
    """Seconds per step, over at least three steps and `seconds`."""
    for _ in range(_WARM_UP):
        step()
    settle(device)
    count, begun_s = 0, time.perf_counter()
    while count < 3 or time.perf_counter() - begun_s < seconds:  # noqa: PLR2004 - three steps
        for _ in range(3):
            step()
        count += 3
        settle(device)
    return (time.perf_counter() - begun_s) / count


def eager(
    data: Tensors, hidden: list[int], batch: int, device: torch.device, seconds: float
) -> float:
    """By hand: tensors on the device, rows gathered there, autocast to bf16, fused AdamW."""
    x, y = (tensor.to(device) for tensor in data)
    net = network(x.shape[1], hidden).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    parts = _forever(list(torch.randperm(len(x)).to(device).split(batch)), batch)

    def step() -> None:
        rows = next(parts)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(x.index_select(0, rows))
        torch.nn.functional.cross_entropy(logits.float(), y.index_select(0, rows)).backward()
        optimizer.step()

    return batch / timed(step, device, seconds)


def _forever(parts: list[torch.Tensor], batch: int) -> Iterator[torch.Tensor]:
    while True:
        yield from (part for part in parts if len(part) == batch)


class _Clock:
    """Notes when steps end; the first ones do not count."""

    def __init__(self, device: torch.device, steps: int) -> None:
        self._device, self._steps = device, steps
        self._count, self._begun_s = 0, 0.0
        self.seconds = 0.0

    def tick(self) -> None:
        self._count += 1
        if self._count == _WARM_UP:
            settle(self._device)
            self._begun_s = time.perf_counter()
        if self._count == self._steps:
            settle(self._device)
            self.seconds = (time.perf_counter() - self._begun_s) / (self._steps - _WARM_UP)


def lightning(
    data: Tensors, hidden: list[int], batch: int, device: torch.device, steps: int
) -> float:
    """Lightning's Trainer in bf16 over a DataLoader, without logger, checkpoints and bars."""
    try:
        import lightning as pl  # noqa: PLC0415 - may be missing
    except ImportError:
        import pytorch_lightning as pl  # noqa: PLC0415 - the same under its older name

    clock = _Clock(device, steps)

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(data[0].shape[1], hidden)

        def training_step(self, batch: Tensors, _: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3, fused=True)

        def on_train_batch_end(self, *_: object) -> None:
            clock.tick()

    rows = torch.utils.data.TensorDataset(*data)
    loader = torch.utils.data.DataLoader(
        rows, batch_size=batch, shuffle=True, pin_memory=device.type == "cuda", drop_last=True
    )
    trainer = pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed",
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), loader)
    return batch / clock.seconds


def hf_trainer(
    data: Tensors, hidden: list[int], batch: int, device: torch.device, steps: int
) -> float:
    """The Trainer of Hugging Face's transformers in bf16, without logs and checkpoints."""
    from transformers import (  # noqa: PLC0415 - may be missing
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    clock = _Clock(device, steps)

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(data[0].shape[1], hidden)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(x)
            return {"loss": torch.nn.functional.cross_entropy(logits.float(), labels)}

    class Items(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return len(data[1])

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"x": data[0][index], "labels": data[1][index]}

    class Ticks(TrainerCallback):
        def on_step_end(self, *_: object, **__: Any) -> None:  # noqa: ANN401 - its own
            clock.tick()

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=batch,
            max_steps=steps,
            learning_rate=1e-3,
            optim="adamw_torch_fused",
            bf16=True,
            use_cpu=device.type == "cpu",
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_drop_last=True,
        )
        Trainer(Wrapped(), arguments, train_dataset=Items(), callbacks=[Ticks()]).train()
    return batch / clock.seconds


def clear(device: torch.device) -> None:
    """Gives back what the last way held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
