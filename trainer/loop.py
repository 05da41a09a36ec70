"""The training loop: epochs over rows that are resident on the device.

A position is (epoch, step within it); every random choice comes from generators whose states are
part of a checkpoint, so that 2N steps equal N, a stop, and N more, bit for bit on a CPU.
"""
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer import schedules, scores
from trainer.execution import make_step
from trainer.recipe import Recipe, no_such_row
from trainer.rows import Rows
from trainer.schedules import Extent, Plateau
from trainer.steps import Step
from twofold import features, spec_targets
from twofold.nets.losses import Results, first_of
from twofold.nets.net import apply_head
from twofold.nets.pieces import rows_at_once
from twofold.v1 import graph_pb2, spec_pb2

#: Rows of one forward pass in evaluation, at most: bounds the memory of activations.
EVALUATION_ROWS = 65_536
#: Steps of one epoch between two looks at its loss: each waits for the device, and an epoch of
#: hours must not go on for nothing.
LOOK_STEPS = 1000


class Diverged(Exception):
    """The loss became NaN or infinite; the text says where."""


class Interrupted(Exception):
    """`should_stop` said so; the loop stands between two steps."""


@dataclass(slots=True)
class Position:
    """Where training stands and what it decided so far; plain numbers, part of every checkpoint."""

    #: Epochs done.
    epoch: int = 0
    #: Steps done in the running epoch.
    step: int = 0
    #: Steps done in all.
    step_count: int = 0
    #: Loss of the last whole epoch, mean over rows; NaN before any.
    loss: float = math.nan
    validation_loss: float = math.nan
    #: What is minimised over epochs: evaluation loss, or error rate for the perceptron.
    best_score: float = math.inf
    best_epoch: int = 0
    #: Epochs since the best one.
    stale_count: int = 0
    has_converged: bool = False
    plateau: Plateau = field(default_factory=Plateau)


@dataclass(slots=True)
class Loop:
    """The training of one recipe. Owned by one thread."""

    recipe: Recipe
    position: Position = field(default_factory=Position)
    #: Draws the order of rows. On the CPU: the same order on every device.
    order: torch.Generator = field(init=False)
    #: State of `order` before the running epoch's permutation was drawn.
    order_before: Tensor = field(init=False)
    #: Sum of losses of the running epoch's rows, float64 scalar on the device.
    total: Tensor = field(init=False)
    #: The weights of the best epoch, as `Net.weights` has them; the present ones before any.
    best: dict[str, Tensor] = field(init=False)
    step: Step = field(init=False)
    #: Why it is not equal to the bit to a training that was never stopped, for people.
    differences: list[str] = field(default_factory=list[str])
    #: CPU threads that were left when some were given up, at least; 0: none were.
    fewest_threads: int = 0
    #: What the evaluation rows give as the last epoch left them; None while an epoch runs.
    results: Results | None = None
    #: The present weights, as `best` has them: looking them up takes as long as a small step.
    _live: dict[str, Tensor] = field(init=False)
    #: Sum of the weights of the training rows.
    _weight: float = field(init=False)
    #: The schedule's factor that the optimizer has; NaN before any.
    _factor: float = math.nan

    def __post_init__(self) -> None:
        self.order = torch.Generator().manual_seed(self.recipe.spec.training.seed)
        self.order_before = self.order.get_state()
        self.total = torch.zeros((), dtype=torch.float64, device=self.recipe.device)
        self._live = self.recipe.judged.weights()
        self.best = {name: live.clone() for name, live in self._live.items()}
        self.step = make_step(self.recipe, self.total)
        self._weight = self.recipe.training.total_weight()

    @property
    def extent(self) -> Extent:
        """How long training may last."""
        options, count = self.recipe.spec.training, len(self.recipe.training)
        return Extent(options.epochs, math.ceil(count / min(options.batch_size, count)))

    @property
    def choices(self) -> spec_pb2.Choices:
        """What was picked, as it stands now."""
        self.recipe.choices.micro_batch_size = self.step.micro_batch_size
        return self.recipe.choices

    @property
    def learning_rate(self) -> float:
        """That of the last step; the spec's before any."""
        factor = 1.0 if math.isnan(self._factor) else self._factor
        return self.recipe.spec.training.learning_rate * factor

    @property
    def is_done(self) -> bool:
        """Whether an end is reached: epochs, convergence or patience."""
        options, position = self.recipe.spec.training, self.position
        is_stale = options.HasField("patience") and position.stale_count >= options.patience
        return position.epoch >= options.epochs or position.has_converged or is_stale

    def run_epoch(self, should_stop: Callable[[], bool]) -> None:
        """Trains to the end of the epoch and evaluates it.

        Raises:
            Diverged: the loss is not finite any more.
            Interrupted: `should_stop()` between two steps.
        """
        recipe, position = self.recipe, self.position
        self.results = None
        recipe.net.train()
        batches = self._batches()
        for rows in batches[position.step :]:
            self._follow_schedule()
            self.step(rows)
            position.step += 1
            position.step_count += 1
            if position.step % LOOK_STEPS == 0:
                self._require_finite("training", self.total.item(), position.epoch + 1)
            if position.step < len(batches) and should_stop():
                raise Interrupted
        self._end_epoch()
        if not self.is_done and should_stop():
            raise Interrupted

    def _batches(self) -> list[Tensor | None]:
        """Row indices of every step of the epoch; None: all rows as they are."""
        count = len(self.recipe.training)
        size = min(self.recipe.spec.training.batch_size, count)
        if size == count:
            return [None]
        self.order.set_state(self.order_before)
        permutation = torch.randperm(count, generator=self.order).to(self.recipe.device)
        return list(permutation.split(size))

    def _follow_schedule(self) -> None:
        recipe, position = self.recipe, self.position
        schedule, drops = recipe.spec.training.schedule, position.plateau.drop_count
        factor = schedules.factor(schedule, position.step_count, self.extent, drops)
        if factor != self._factor:
            self._factor = factor
            recipe.optimizer.set_rate(factor)
        if recipe.average is not None:
            recipe.average.prepare(position.step_count + 1)

    def _require_finite(self, name: str, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise Diverged(f"the {name} loss became {loss} in epoch {epoch}")

    def _end_epoch(self) -> None:
        recipe, position = self.recipe, self.position
        before, position.loss = position.loss, self.total.item() / self._weight
        position.epoch += 1
        position.step = 0
        self.total.zero_()
        self.order_before = self.order.get_state()
        results = self.results = forward(recipe, recipe.evaluation)
        position.validation_loss = mean_loss(recipe, recipe.evaluation, results)
        for name, value in (("training", position.loss), ("validation", position.validation_loss)):
            self._require_finite(name, value, position.epoch)
        schedules.watch(position.plateau, recipe.spec.training.schedule, position.validation_loss)
        self._judge(before, results)

    def _judge(self, loss_before: float, results: Results) -> None:
        """Remembers the epoch if it is the best, and whether the loss has stopped changing."""
        recipe, position = self.recipe, self.position
        score = position.validation_loss
        if recipe.spec.training.loss == spec_pb2.LOSS_PERCEPTRON:
            # Its loss shrinks with the weights; what it is judged by is its mistakes.
            score = 1 - metrics(recipe, recipe.evaluation, results)["accuracy"]
        position.stale_count += 1
        if score < position.best_score:
            position.best_score, position.best_epoch = score, position.epoch
            position.stale_count = 0
            for name, live in self._live.items():
                self.best[name].copy_(live)
        options = recipe.spec.training
        if options.HasField("tolerance") and math.isfinite(loss_before):
            change = abs(position.loss - loss_before)
            position.has_converged = change < options.tolerance or change == 0


def forward(recipe: Recipe, rows: Rows) -> Results:
    """Logits [N, K] of rows, or all results, in eval mode, without gradients, in bounded pieces.

    Raises InvalidData where the network looks up what it does not have.
    """
    net = recipe.judged.eval()
    most = rows_at_once(EVALUATION_ROWS, net.row_elements)
    starts = range(0, len(rows), most)
    with torch.inference_mode():
        try:
            if len(rows) <= most:
                return recipe.results_of(net, rows)
            pieces = [recipe.results_of(net, rows.piece(start, most)) for start in starts]
        except IndexError as error:
            raise no_such_row(error) from error
        if isinstance(pieces[0], Tensor):
            return torch.cat([first_of(piece) for piece in pieces])
        return tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))


def mean_loss(recipe: Recipe, rows: Rows, results: Results) -> float:
    """The rows' mean loss, by their weights."""
    with torch.inference_mode():
        return recipe.loss(results, rows.target, rows.weight).item()


def metrics(recipe: Recipe, rows: Rows, results: Results) -> dict[str, float]:
    """The task's metrics of logits [N, K], every row counting alike; none where none fit."""
    if recipe.head == graph_pb2.HEAD_UNSPECIFIED:
        return {}
    threshold = recipe.graph.head_threshold
    with torch.inference_mode():
        answers = apply_head(recipe.head, first_of(results), threshold).cpu().numpy()
    target = rows.target.cpu().numpy()
    if recipe.spec.data.task == spec_pb2.TASK_REGRESSION:
        return scores.regression(answers, target)
    if recipe.spec.data.task == spec_pb2.TASK_MULTILABEL:
        return scores.multilabel(features.has_label(answers), target > 0)
    # As twofold.features answers: of two equal scores the second class.
    two = answers.shape[1] == 2  # noqa: PLR2004 - two classes
    best = (answers[:, 1] >= answers[:, 0]).astype("int64") if two else answers.argmax(axis=1)
    return scores.classification(best, target, answers.shape[1])


def metrics_by_target(recipe: Recipe, rows: Rows, results: Results) -> dict[str, float]:
    """R2 of each target of a regression of several; none for others."""
    if recipe.head != graph_pb2.HEAD_IDENTITY:
        return {}
    names = spec_targets.of(recipe.spec.data)
    return scores.r2_of_each(first_of(results).cpu().numpy(), rows.target.cpu().numpy(), names)
