"""The rows of training in the table of a spec's fields; see spec_fields."""

from collections.abc import Mapping

from twofold.field import DAY_S, MAX_LABELS, Field

#: Every leaf of TrainingOptions, by its dotted path in a spec.
FIELDS: Mapping[str, Field] = {
    "training.epochs": Field(
        "integer",
        "Passes over the training rows; 0, for a module only: its weights are published as they "
        "came.",
        0,
        10**6,
        default=100,
    ),
    "training.batch_size": Field(
        "integer",
        'Rows per step; at most the training rows. "auto" finds the fastest by trying.',
        0,
        1 << 24,
        default=1024,
        word=("auto", 0),
    ),
    "training.loss": Field("choice", "The loss.", default_rule="the family's"),
    "training.optimizer": Field(
        "choice", "The optimizer.", default_rule="adam; sgd for the perceptron rule"
    ),
    "training.learning_rate": Field(
        "real",
        "Learning rate.",
        0,
        1000,
        is_low_open=True,
        default_rule="0.001 for adam, adamw, rmsprop and muon, 0.1 for sgd, 1 for lbfgs and "
        "for sgd with the perceptron rule",
    ),
    "training.weight_decay": Field(
        "real",
        "L2 penalty, or decoupled decay (ADAMW, MUON); none for LBFGS.",
        0,
        10,
        default_rule="0; 0.01 for adamw and muon",
    ),
    "training.momentum": Field(
        "real",
        "SGD, RMSPROP and MUON only: momentum.",
        0,
        1,
        is_high_open=True,
        default_rule="0; 0.95 for muon",
    ),
    "training.nesterov": Field(
        "boolean", "SGD only: Nesterov momentum; needs momentum above 0.", default=False
    ),
    "training.seed": Field(
        "integer",
        "Seed of initial weights, split, shuffling and dropout.",
        0,
        (1 << 63) - 1,
        default=0,
    ),
    "training.tolerance": Field(
        "real",
        "Stop when the training loss changed by less over an epoch.",
        0,
        10**6,
        default_rule="never",
    ),
    "training.patience": Field(
        "integer",
        "Stop after this many epochs without a better loss.",
        1,
        10**6,
        default_rule="never",
    ),
    "training.threads": Field(
        "integer", "CPU threads.", 1, 256, default_rule="1 for small steps, else the worker's"
    ),
    "training.checkpoint_interval": Field(
        "duration", "Seconds between checkpoints.", 0, DAY_S, default=10
    ),
    "training.beta1": Field(
        "real",
        "ADAM, ADAMW and MUON only: decay of the mean gradient.",
        0,
        1,
        is_high_open=True,
        default_rule="0.9",
    ),
    "training.beta2": Field(
        "real",
        "ADAM, ADAMW and MUON only: decay of the mean squared gradient.",
        0,
        1,
        is_high_open=True,
        default_rule="0.999",
    ),
    "training.epsilon": Field(
        "real",
        "ADAM, ADAMW, RMSPROP and MUON only: added to the denominator.",
        0,
        1,
        is_low_open=True,
        default_rule="1e-8",
    ),
    "training.smoothing": Field(
        "real",
        "RMSPROP only: decay of the mean squared gradient.",
        0,
        1,
        is_high_open=True,
        default_rule="0.99",
    ),
    "training.centered": Field(
        "boolean",
        "RMSPROP only: divide by the deviation instead of the root of the mean square.",
        default=False,
    ),
    "training.history": Field(
        "integer", "LBFGS only: corrections kept.", 1, 1000, default_rule="10"
    ),
    "training.iterations": Field(
        "integer", "LBFGS only: iterations per step.", 1, 1000, default_rule="20"
    ),
    "training.schedule.kind": Field(
        "choice", "How the learning rate changes.", default_rule="constant"
    ),
    "training.schedule.warmup_epochs": Field(
        "real", "Epochs of linear warm-up; not with ONE_CYCLE.", 0, 10**6, default_rule="0"
    ),
    "training.schedule.step_epochs": Field(
        "integer", "STEP only: epochs between two drops.", 1, 10**6, default_rule="30"
    ),
    "training.schedule.drop": Field(
        "real",
        "STEP and PLATEAU only: the factor of a drop.",
        0,
        1,
        is_low_open=True,
        is_high_open=True,
        default_rule="0.1",
    ),
    "training.schedule.floor": Field(
        "real",
        "COSINE, ONE_CYCLE and PLATEAU only: the least factor.",
        0,
        1,
        default_rule="0; 0.000004 for one_cycle",
    ),
    "training.schedule.rise": Field(
        "real",
        "ONE_CYCLE only: part of the steps in which the rate rises.",
        0,
        1,
        is_low_open=True,
        is_high_open=True,
        default_rule="0.3",
    ),
    "training.schedule.start": Field(
        "real", "ONE_CYCLE only: the factor at its beginning.", 0, 1, default_rule="0.04"
    ),
    "training.schedule.plateau_epochs": Field(
        "integer",
        "PLATEAU only: epochs without a better loss before a drop.",
        0,
        10**6,
        default_rule="10",
    ),
    "training.schedule.threshold": Field(
        "real",
        "PLATEAU only: by which part a loss must be lower to be better.",
        0,
        1,
        default_rule="0.0001",
    ),
    "training.ema_decay": Field(
        "real",
        "Decay per step of a moving average of the weights, which is then what is published.",
        0,
        1,
        is_low_open=True,
        is_high_open=True,
        default_rule="no average",
    ),
    "training.clip_norm": Field(
        "real",
        "Largest norm of all gradients together.",
        0,
        10**9,
        is_low_open=True,
        default_rule="any",
    ),
    "training.clip_value": Field(
        "real",
        "Largest magnitude of a gradient's element; before clip_norm.",
        0,
        10**9,
        is_low_open=True,
        default_rule="any",
    ),
    "training.micro_batch_size": Field(
        "integer",
        "Rows of one forward and backward pass, whose gradients add up to a step's.",
        1,
        1 << 24,
        default_rule="the whole step at once",
    ),
    "training.label_smoothing": Field(
        "real",
        "CROSS_ENTROPY and BCE only: part of the target that is spread over all labels.",
        0,
        1,
        is_high_open=True,
        default_rule="0",
    ),
    "training.focal_gamma": Field(
        "real", "FOCAL only: exponent of (1 - p).", 0, 10, default_rule="2"
    ),
    "training.huber_delta": Field(
        "real",
        "HUBER only: error from which on the loss is linear.",
        0,
        10**6,
        is_low_open=True,
        default_rule="1",
    ),
    "training.quantile": Field(
        "real",
        "QUANTILE only: the quantile that is predicted.",
        0,
        1,
        is_low_open=True,
        is_high_open=True,
        default_rule="0.5, the median",
    ),
    "training.class_weights": Field(
        "real",
        "Classification only: weight in the loss of a label's rows, by label; multi-label: of the "
        "rows that have it.",
        0,
        10**6,
        is_low_open=True,
        entries=MAX_LABELS,
        default_rule="1 for every label",
    ),
    "training.balance_classes": Field(
        "boolean",
        "Classification only: weigh labels so that each counts alike.",
        default=False,
    ),
    "training.precision": Field(
        "choice",
        "Precision of the network's arithmetic while it trains.",
        default_rule="fp32",
    ),
    "training.compile": Field(
        "boolean", "Whether the network is compiled (torch.compile).", default=False
    ),
    "training.deterministic": Field(
        "boolean", "Whether only deterministic algorithms run, on GPUs too.", default=False
    ),
    "training.tensorboard": Field(
        "boolean", "Whether event files for TensorBoard are written.", default=False
    ),
}
