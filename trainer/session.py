"""One attempt inside the training process: prepare, train, checkpoint, evaluate, export.

Speaks to its supervisor through `Reporter` alone, so that it runs in tests without a process.
"""
# pyright: reportUnknownMemberType=false

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from trainer import (
    baseline,
    batches,
    checkpoint,
    cores,
    data,
    gates,
    machine,
    probing,
    recipe,
    replay,
    signs,
    warm_start,
)
from trainer.curve import Curve
from trainer.export import Trained, export
from trainer.gates import NotBlessed
from trainer.loop import Interrupted, Loop, forward, mean_loss, metrics, metrics_by_target
from trainer.noise import NoiseScale
from trainer.prepared import Prepared, prepare
from trainer.sharing import Sharing
from twofold import spec_gates, spec_training
from twofold.errors import Corrupt
from twofold.faults import fault
from twofold.internal.v1 import child_pb2
from twofold.manifest import sha256_hex
from twofold.store import LocalStore
from twofold.v1 import model_pb2, spec_pb2, training_pb2

#: Seconds between two reports of progress: people read no faster, and each is a durable write.
REPORT_GAP_S = 0.2
#: Seconds of a long epoch after which the supervisor is shown that steps still end: half of the
#: least limits.progress_timeout.
SIGN_GAP_S = 0.5
#: Seconds that a compiler may take without being taken for one that hangs.
COMPILE_LIMIT_S = 1_800.0
#: Weight of the newest epoch in the average speed.
_SMOOTHING = 0.3

logger = logging.getLogger(__name__)


class Reporter(Protocol):
    """The supervisor, as the training sees it."""

    def progressed(
        self, phase: training_pb2.JobPhase, progress: training_pb2.Progress | None = None
    ) -> None:
        """Tells where training stands."""
        ...

    def checkpointed(self, path: Path, epoch: int) -> None:
        """Tells of a durable checkpoint."""
        ...

    def should_stop(self) -> bool:
        """Whether the supervisor asked to stop; cheap enough to ask after every step."""
        ...


class Session:
    """The training of one request. Made anew for each; owned by the main thread."""

    def __init__(
        self,
        request: child_pb2.TrainRequest,
        reporter: Reporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request = request
        self._reporter = reporter
        self._clock = clock
        self._folder = Path(request.checkpoint_path)
        self._curve = Curve(request)
        interval = request.spec.training.checkpoint_interval
        self._checkpoint_gap_s = interval.ToTimedelta().total_seconds()
        self._checkpoint_s = self._report_s = self._epoch_s = self._sign_s = clock()
        self._seconds_per_epoch = math.nan
        # Steps of the running epoch that an attempt before this one has done.
        self._skipped_steps = 0
        self._resumed_epoch = 0
        self._resume_warning = ""
        self._batch_reason = "the spec's"
        self._noise: NoiseScale | None = None
        self._sharing: Sharing | None = None
        # Whether a report was held back; the last epoch's is always sent.
        self._has_news = False
        # As last reported; shown on until newer ones are computed.
        self._metrics: dict[str, float] = {}

    def run(self) -> model_pb2.Manifest:
        """Trains and exports; the manifest but for what the publisher fills in.

        Raises:
            Interrupted: the supervisor asked to stop; a checkpoint is durable if a step was done.
            Diverged: see trainer.loop.
            NotBlessed: the model does not answer what it promises, or a gate of the spec refused
                it; its files are durable.
            InvalidField, InvalidData: the spec does not fit the data, or it cannot be read.
            OSError: the disk failed.
        """
        request = self._request
        self._reporter.progressed(training_pb2.JOB_PHASE_PREPARING)
        table = data.load(request.spec.data, request.data_path, request.data_format)
        prepared = prepare(table, request.spec)
        del table  # the raw columns are not needed beside the prepared ones
        spec = self._settled(prepared)
        loop = self._resumed(lambda origin: self._fresh(spec, prepared, origin))
        with self._curve.begun(self._resumed_epoch):
            self._train(loop)
        self._reporter.progressed(training_pb2.JOB_PHASE_EVALUATING, self._progress(loop))
        loop.recipe.judged.load_weights(loop.best)
        figures = _final_metrics(loop)
        if spec_training.publishes_as_is(spec.training):
            self._measured_as_is(loop, figures)
        trained = Trained(loop.recipe, prepared, loop.best, figures, loop.position.best_epoch)
        manifest = export(trained, Path(request.artifact_path))
        # What was asked for, as the job has it: loop.recipe's may have a batch size of its own.
        manifest.lineage.spec_sha256 = sha256_hex(
            request.spec.SerializeToString(deterministic=True)
        )
        manifest.lineage.parent = warm_start.resource_of(request.spec.network.warm_start)
        fault("child.exported")
        replay.require(manifest, Path(request.artifact_path))
        manifest.gates.extend(self._passed_gates(manifest, prepared))
        return manifest

    def _measured_as_is(self, loop: Loop, figures: dict[str, float]) -> None:
        """Tells what weights are worth that no epoch trained; raises NotBlessed for no number."""
        loss = figures["loss"]
        if not math.isfinite(loss):
            raise NotBlessed(f"not published: the loss of the weights as they came is {loss}")
        loop.position.loss = loop.position.validation_loss = loss
        known = spec_gates.METRICS.keys() - {"loss"}  # each target's own stands in the manifest
        self._metrics = {name: value for name, value in figures.items() if name in known}
        self._reporter.progressed(training_pb2.JOB_PHASE_EVALUATING, self._progress(loop))

    def _passed_gates(
        self, manifest: model_pb2.Manifest, prepared: Prepared
    ) -> list[model_pb2.GateResult]:
        """Raises NotBlessed; the baseline is looked up now, since an alias may have moved."""
        request = self._request
        asked, compared = request.spec.gates, None
        if asked.not_worse_than:
            compared = baseline.measure(self._store, request.tenant, request.spec, prepared)
        return gates.decide(asked, manifest.metrics, compared)

    def _settled(self, prepared: Prepared) -> spec_pb2.TrainingSpec:
        """The spec with a batch size: its own, the checkpoint's, or one that is found by trying."""
        request = self._request
        if not spec_training.is_automatic(request.spec.training):
            return request.spec
        for path in checkpoint.of_job(Path(request.resume_path)) if request.resume_path else ():
            with suppress(Corrupt, FileNotFoundError):  # told when it is read
                size = checkpoint.batch_size_of(path)
                self._batch_reason = "as the attempt before it found"
                return batches.settle(request.spec, size)
        size, self._batch_reason = probing.choose(
            request, prepared, machine.memory_bytes(request.device), self._while_probing
        )
        return batches.settle(request.spec, size)

    def _while_probing(self) -> None:
        self._prepares()
        if self._reporter.should_stop():
            raise Interrupted

    def _fresh(
        self, spec: spec_pb2.TrainingSpec, prepared: Prepared, origin: recipe.Origin
    ) -> Loop:
        request = self._request
        device = machine.choose_device(request.device)
        made = recipe.make(spec, prepared, device, request.threads, origin)
        made.choices.batch_size_reason = self._batch_reason
        if not spec.training.compile:
            return Loop(made)
        with signs.shown(self._prepares, SIGN_GAP_S, COMPILE_LIMIT_S):
            return Loop(made)

    def _prepares(self) -> None:
        self._reporter.progressed(training_pb2.JOB_PHASE_PREPARING)

    def _origin(self) -> recipe.Origin:
        request = self._request
        parent = warm_start.read(self._store, request.tenant, request.spec.network.warm_start)
        return recipe.Origin(recipe.read_weights(request.weights_path), parent)

    @property
    def _store(self) -> LocalStore:
        return LocalStore(Path(self._request.store_path), read_only=True)

    def _resumed(self, fresh: Callable[[recipe.Origin], Loop]) -> Loop:
        """The loop where the checkpoint left it; at its beginning without a usable one."""
        if self._request.resume_path:
            # A checkpoint has all weights: the version that they began from may be gone by now.
            loop = fresh(recipe.Origin(recipe.read_weights(self._request.weights_path)))
            if self._is_restored(loop):
                return loop
            del loop  # its tensors, before there are as many again
        return fresh(self._origin())

    def _is_restored(self, loop: Loop) -> bool:
        """Whether the loop stands where a checkpoint of the job was taken."""
        for path in checkpoint.of_job(Path(self._request.resume_path)):
            try:
                differences = checkpoint.read(path, loop)
            except (Corrupt, FileNotFoundError) as error:
                logger.exception("a checkpoint cannot be used")
                why = error.message if isinstance(error, Corrupt) else "it is gone"
                self._resume_warning = self._resume_warning or (
                    f"the last checkpoint is not used, training began anew: {why}"
                )
                continue
            self._resumed_epoch, self._resume_warning = loop.position.epoch, ""
            self._curve.take_over(path.parent)
            if differences:
                logger.warning(
                    "resumed, but not to the bit: the surroundings differ",
                    extra={"job": self._request.job, "what": differences},
                )
                told = "; ".join(differences)
                self._resume_warning = f"resumed, but not equal to the bit: {told}"
            return True
        return False

    def _train(self, loop: Loop) -> None:
        self._checkpoint_s = self._epoch_s = self._sign_s = self._clock()
        self._report_s = -math.inf
        self._sharing = self._shared(loop)
        while not loop.is_done:
            self._skipped_steps = loop.position.step
            try:
                loop.run_epoch(lambda: self._between_steps(loop))
                fault("child.epoch")
                self._measure_noise(loop)
                self._after_epoch(loop)
            except Interrupted:
                # Maybe at an epoch's end, which the checkpoint then has behind it.
                self._curve.epoch_ended(loop, self._taken_s(loop, self._clock()))
                self._write_checkpoint(loop)
                raise
        if self._has_news:
            self._report(loop)

    def _between_steps(self, loop: Loop) -> bool:
        """Whether to stop; an epoch may take hours, so shows that steps go on ending."""
        now_s = self._clock()
        if self._sharing is not None and self._sharing.is_due(now_s):
            self._share(self._sharing, loop, now_s)
        if now_s - self._sign_s >= SIGN_GAP_S:
            self._sign_s = now_s
            known = self._progress(loop) if loop.position.epoch else None
            self._reporter.progressed(training_pb2.JOB_PHASE_TRAINING, known)
        return self._reporter.should_stop()

    def _shared(self, loop: Loop) -> Sharing | None:
        """None where the number of threads is not ours to change, or nobody would tell when to."""
        waited_s, choices = cores.waited_s(), loop.choices
        # Compiled code is made for one number of threads.
        if waited_s is None or choices.execution != "eager" or choices.device != "cpu":
            return None
        options = loop.recipe.spec.training
        if options.HasField("threads") or options.deterministic or choices.threads == 1:
            return None
        return Sharing(choices.threads, self._clock(), waited_s, loop.fewest_threads)

    def _share(self, sharing: Sharing, loop: Loop, now_s: float) -> None:
        choices = loop.recipe.choices
        waited_s = cores.waited_s()
        if waited_s is None:
            return
        threads = sharing.look(now_s, waited_s)
        if threads != choices.threads:
            logger.info("CPU threads", extra={"before": choices.threads, "now": threads})
            machine.use_threads(threads)
            choices.threads, choices.threads_reason = threads, sharing.reason
            loop.fewest_threads = sharing.fewest

    def _after_epoch(self, loop: Loop) -> None:
        now_s = self._clock()
        taken_s, self._epoch_s = self._taken_s(loop, now_s), now_s
        known = math.isfinite(self._seconds_per_epoch)
        weight = _SMOOTHING if known else 1.0
        before_s = self._seconds_per_epoch if known else 0.0
        self._seconds_per_epoch = weight * taken_s + (1 - weight) * before_s
        self._has_news = True
        self._curve.epoch_ended(loop, taken_s)
        if now_s - self._report_s >= REPORT_GAP_S:
            self._report_s = now_s
            self._report(loop)
        if now_s - self._checkpoint_s >= self._checkpoint_gap_s and not loop.is_done:
            self._write_checkpoint(loop)
            self._checkpoint_s = self._clock()

    def _taken_s(self, loop: Loop, now_s: float) -> float:
        """Seconds of the epoch that ends now, as if all of its steps had been this attempt's."""
        steps = loop.extent.steps_per_epoch
        return (now_s - self._epoch_s) * steps / (steps - self._skipped_steps)

    def _write_checkpoint(self, loop: Loop) -> None:
        if loop.position.step_count == 0:
            return
        self._curve.sync()  # first: who resumes from the checkpoint takes the series over
        path = checkpoint.write(self._folder, loop)
        fault("child.checkpointed")
        self._reporter.checkpointed(path, loop.position.epoch)

    def _report(self, loop: Loop) -> None:
        self._has_news = False
        self._sign_s = self._clock()
        if loop.results is not None:
            self._metrics = metrics(loop.recipe, loop.recipe.evaluation, loop.results)
        self._curve.measured(self._metrics)
        self._reporter.progressed(training_pb2.JOB_PHASE_TRAINING, self._progress(loop))

    def _measure_noise(self, loop: Loop) -> None:
        """After epochs 1, 2, 4 and so on: the scale grows while the loss falls."""
        epoch = loop.position.epoch
        if not spec_training.is_automatic(self._request.spec.training):
            return
        if self._noise is None:  # also in the first epoch after a resume
            self._noise = NoiseScale(loop.recipe)
        elif epoch & (epoch - 1):
            return
        self._noise.measure(loop.step.micro_batch_size)

    def _warnings(self, loop: Loop) -> list[str]:
        told = ["" if self._sharing is None else self._sharing.warning]
        if self._noise is not None and self._noise.rows is not None:
            told.append(batches.warning(loop.recipe.choices.batch_size, self._noise.rows))
        return [warning for warning in told if warning]

    def _progress(self, loop: Loop) -> training_pb2.Progress:
        position, options = loop.position, loop.recipe.spec.training
        progress = training_pb2.Progress(
            epoch=position.epoch,
            epoch_count=options.epochs,
            # Before the first epoch there is none, and none will come where nothing is trained.
            loss=position.loss if math.isfinite(position.loss) else 0.0,
            resumed_epoch=self._resumed_epoch,
            resume_warning=self._resume_warning,
            learning_rate=loop.learning_rate,
            choices=loop.choices,
            warnings=self._warnings(loop),
            metrics=self._metrics,
        )
        is_held_out = loop.recipe.evaluation is not loop.recipe.training
        if is_held_out and math.isfinite(position.validation_loss):
            progress.validation_loss = position.validation_loss
        if self._noise is not None and self._noise.rows is not None:
            progress.gradient_noise_scale = self._noise.rows
        if self._seconds_per_epoch > 0:
            progress.rows_per_second = len(loop.recipe.training) / self._seconds_per_epoch
            left = options.epochs - position.epoch
            progress.remaining_duration.FromMilliseconds(int(left * self._seconds_per_epoch * 1000))
        return progress


def _final_metrics(loop: Loop) -> dict[str, float]:
    """Loss and metrics of the published epoch on the held-out rows, else the training rows."""
    rows = loop.recipe.evaluation
    results = forward(loop.recipe, rows)
    return {
        "loss": mean_loss(loop.recipe, rows, results),
        **metrics(loop.recipe, rows, results),
        **metrics_by_target(loop.recipe, rows, results),
    }
