"""`audit.yaml`: read and validated once, so that nothing later has to ask again."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dataaudit.about import About
from dataaudit.config_errors import explained
from dataaudit.config_values import LONGEST_NAME, MOST_PIXELS, read_yaml, refuse_unusable
from dataaudit.errors import ConfigError
from dataaudit.labels.by_task import KINDS
from dataaudit.storage.store import place_of

GENERATIVE = ("causal-lm", "diffusion")
"""Tasks whose suspects are traced to training rows; their rows have no labels."""
EVERYWHERE = frozenset(
    {"name", "task", "model", "preprocess", "train", "held_out", "suspects", "device", "about",
     "flags", "gates", "checks"}
)  # fmt: skip
"""Sections that every command takes: what is looked at, and what only the page and the gates of
`dataaudit run` are about, so that one file may serve all commands."""
LOADING = frozenset({"images", "classes", "ignore_label", "bad_rows", "mirror.seed"})
"""Settings that opening a model and its labelled rows reads."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


def _no_truth_value(value: object) -> object:
    # YAML reads `no`, `off`, `yes` as truth values, and Python takes those for 0 and 1.
    if isinstance(value, bool):
        raise ValueError("a number is expected")
    return value


Number = Annotated[float, BeforeValidator(_no_truth_value)]
Count = Annotated[int, BeforeValidator(_no_truth_value), Field(ge=1, lt=2**31)]
Rate = Annotated[Number, Field(gt=0, le=1000)]
"""A learning rate: far beyond any that learns, and far below what overflows."""


def _of_possible_size(weight: float) -> float:
    if not 1e-6 <= weight <= 1e6:
        # Beyond that, sums of losses are no longer finite, or 0, in single precision.
        raise ValueError("expected a weight between 0.000001 and 1,000,000")
    return weight


Weight = Annotated[Number, Field(gt=0), AfterValidator(_of_possible_size)]


def _of_possible_names(value: Path) -> Path:
    for part in value.parts:
        if len(part.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
            raise ValueError(f"no file has a name of more than {LONGEST_NAME} bytes")
    return value


Place = Annotated[Path, AfterValidator(_of_possible_names)]
Share = Annotated[Number, Field(ge=0, le=1)]


def _no_linear_audit(value: object) -> object:
    if value == "linear":
        raise ValueError(
            "an audit learns again for hundreds of steps, far from the trained weights, where a "
            "first-order change says nothing; use auto, finite or head here, and linear in "
            "dataaudit.mirrored_influence"
        )
    return value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ScheduleConfig(_Section):
    """How a diffusion model was trained: how much noise there is at each timestep."""

    kind: Literal["linear", "scaled_linear", "cosine"] = "linear"
    """How noise grows with the timestep, as diffusers calls it."""
    timesteps: Count = 1000
    """How many there are."""
    first: Annotated[Number, Field(gt=0, lt=1)] = 1e-4
    """The first beta; not for cosine."""
    last: Annotated[Number, Field(gt=0, lt=1)] = 0.02
    """The last beta; not for cosine."""


class ModelConfig(_Section):
    """Where the trained model comes from: a factory, or a path that says what it is."""

    factory: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """`module:function`, beside the yaml or importable; this is the user's own code and is run."""
    weights: Place | None = None
    """A safetensors file, or a torch file of plain tensors; never unpickled."""
    initial: Place | None = None
    """Where training started, for a model that was fine-tuned: a safetensors file, a torch file of
    plain tensors, or a folder that transformers saved. It need not have the head."""
    path: Place | None = None
    """Instead of a factory: a folder that transformers or, for diffusion, diffusers saved, or a
    torch.export program (.pt2)."""
    trusted: bool = False
    """Whether a `.pt2` may be read, although reading one can run code that is hidden in it."""
    text: list[str] | None = None
    """Transformers only: the column that is tokenized, or the two of a pair of sentences."""
    max_length: Count | None = None
    """Transformers only: tokens after which a text is cut off (default: the model's own limit,
    at most 512)."""
    template: str | None = None
    """Task instruction: what the model was trained to read before an answer, with `{prompt}` where
    the instruction stands. Default: the tokenizer's chat template, or the instruction alone."""

    schedule: ScheduleConfig | None = None
    """Diffusion models only; None: linear, or for a folder what its scheduler_config.json says."""

    @field_validator("text", mode="before")
    @classmethod
    def _one_column_or_two(cls, value: object) -> object:
        value = [value] if isinstance(value, str) else value
        if isinstance(value, list) and len(value) not in (1, 2):
            raise ValueError("a column is expected, or a list of two")
        return value

    @field_validator("template")
    @classmethod
    def _place_of_the_prompt(cls, value: str | None) -> str | None:
        if value is not None and "{prompt}" not in value:
            raise ValueError("{prompt} is expected in it, where the instruction stands")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> ModelConfig:
        if (self.factory is None) == (self.path is None):
            raise ValueError("either factory or path is expected")
        if self.path is not None and self.weights is not None:
            raise ValueError("weights go with factory; a path has its own")
        is_program = self.path is not None and self.path.suffix.lower() == ".pt2"
        if self.trusted and not is_program:
            raise ValueError("trusted is about a path that ends in .pt2; nothing else is read so")
        if (self.text is not None or self.max_length is not None) and (
            self.path is None or is_program
        ):
            raise ValueError(
                "text and max_length are for a folder that transformers saved (path); what else "
                "reads texts does so by preprocess"
            )
        return self


class DataConfig(_Section):
    """One split: the file, and which of its columns are special."""

    path: Place
    """A file or folder: csv, tsv, json, jsonl (each also as .gz), Parquet or a folder of its parts,
    Arrow, tar shards, an image folder, a folder that Hugging Face datasets saved. Like all paths of
    this file it may lie on a store (`s3://…`; extra `storage`): then it is copied first."""
    label: str | Annotated[list[StrictStr], Field(min_length=1)] = "label"
    """The label column; for task multi-label also several 0/1 columns, one for each label."""
    labels: Annotated[list[StrictStr], Field(min_length=2)] | Place | None = None
    """Training rows only: the columns of several annotators, or a table `row_id, annotator, label`
    of theirs. Without the column `label`, the label of a row is the one that most of them gave."""
    separator: Annotated[str, Field(min_length=1)] = "|"
    """What stands between the labels of a text, for task multi-label."""
    opinions: dict[str, Annotated[list[StrictStr], Field(min_length=2)]] = {}
    """Training rows only: other models, each with its columns of probabilities in the order of the
    classes. Held-out samples need the same columns: there they are weighed, and never believed
    outright."""
    images: Place | None = None
    """The folder that paths of pictures are relative to; default: the folder of the file."""
    id: str | None = None
    """The column of row ids; without one, rows are known by their position or file name."""
    group: str | None = None
    """The column that tells which rows belong together: a patient, a user, a document."""
    time: str | None = None
    """The column of times: training rows that are later than evaluation rows are reported."""
    text: str = "text"
    """For language models: the column of documents."""
    prompt: str = "prompt"
    """The column of prompts, of pairs of answers and, for language models, of suspects; there need
    not be one. Task instruction: that of the instructions; where it is left out and there is none,
    `instruction`, with `input`."""
    input: str | None = None
    """Task instruction: the column of what an instruction is about, which follows it."""
    completion: str = "completion"
    """For language models, suspects: the column of completions; without it, `text` is traced."""
    chosen: str = "chosen"
    """Task preference: the column of the answers that are given as the better ones."""
    rejected: str = "rejected"
    """Task preference: the column of the others."""


class BenchmarkConfig(DataConfig):
    """One of several named sets that must not be in the training texts."""

    name: Annotated[str, Field(min_length=1)]
    """Stands on the report."""
    score: str | None = None
    """The column of what the model scored on each text, such as 1 right and 0 wrong: the report
    says the mean with and without the texts that are found."""


class MirrorConfig(_Section):
    """How a query group perturbs the model. Every setting has a default that works."""

    kind: Annotated[Literal["auto", "finite", "head"], BeforeValidator(_no_linear_audit)] = "auto"
    """`head` learns again with the last linear layer alone, on its stored inputs."""
    seed: Annotated[int, BeforeValidator(_no_truth_value), Field(ge=0, lt=2**31)] = 0
    """Of everything that is drawn at random."""
    effort: Literal["auto", "quick", "standard", "thorough"] = "auto"
    """`quick` runs the model at most twice over the rows, and all else is done on its last layer;
    `thorough` learns more than twice as long as `standard`: images rank better for it, other data
    hardly. `auto` is standard, or quick where that would take very long and quick is possible."""
    steps: Count | None = None
    """How many steps the model learns again; here and below: default, what `effort` says."""
    learning_rate: Rate | None = None
    """The largest of these steps."""
    batch_size: Count | None = None
    """Rows in each of these steps."""
    parameters: (
        Literal["all", "last", "adapters"] | Annotated[list[StrictStr], Field(min_length=1)]
    ) = "all"
    """Which parameters move: `last`, the last linear layer's; `adapters`, those that PEFT added;
    or a list of patterns of names, such as `[layer4.*, fc.*]`. Frozen ones never do."""
    batch_norm: Literal["frozen", "updated"] = "updated"
    """`frozen` keeps the running statistics, in the steps and in the scores."""
    dropout: bool = True
    """Whether dropout is active while the mirror steps are taken (never while scoring)."""


class ImagesConfig(_Section):
    """How images become inputs where there is no `preprocess`."""

    size: tuple[Count, Count] | None = None
    """`[height, width]`, or one number for both; needed where images differ in size."""
    fit: Literal["stretch", "crop"] = "stretch"
    """`stretch` changes the ratio of the sides where it has to; `crop` keeps it, and cuts off
    what stands out of the centre."""
    channels: Literal[1, 3, 4] | None = None
    """1 grey, 3 red green blue, 4 with transparency; default: what the model's first convolution
    takes, or else what the first image has."""
    mean: list[Number] | None = None
    """Subtracted, for each channel or for all, on a scale of 0 to 1."""
    std: list[Annotated[Number, Field(gt=0)]] | None = None
    """Divided by, after `mean` was subtracted."""

    @field_validator("size", mode="before")
    @classmethod
    def _a_square(cls, value: object) -> object:
        return value if isinstance(value, list | tuple) or value is None else (value, value)

    @field_validator("size")
    @classmethod
    def _that_memory_holds(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and value[0] * value[1] > MOST_PIXELS:
            raise ValueError(
                f"{value[0]} x {value[1]} pixels are too many, expected at most {MOST_PIXELS}"
            )
        return value


class TraceConfig(_Section):
    """How generated samples are traced to training rows."""

    top: Count = 20
    """Rows kept for each query."""
    direction: Literal["learn", "unlearn"] | None = None
    """Whether queries are learned or unlearned."""
    steps: Count | None = None
    """The most steps taken for a query. None, here and below: what suits the kind of model."""
    learning_rate: Rate | None = None
    """Of these steps."""
    loss_change: Annotated[Number, Field(gt=0)] | None = None
    """Language models: steps end once a completion's loss has changed by so many nats."""
    background: Annotated[int, BeforeValidator(_no_truth_value), Field(ge=2)] = 24
    """The most samples to set rows' reactions against: queries; others where those are few."""
    calibration: Count = 24
    """Further unrelated samples, traced like queries, for the p-values."""
    draws: Count | None = None
    """Diffusion models: timesteps and noise draws that every image is judged under."""
    fisher_images: Count | None = None
    """Diffusion models: noisy training images that the Fisher information is taken over."""
    damping: Annotated[Number, Field(gt=0)] | None = None
    """Diffusion models: added to the Fisher information, as a share of its diagonal's mean."""
    context: Annotated[int, BeforeValidator(_no_truth_value), Field(ge=2)] | None = None
    """Language models: the most tokens at once; None: what the model's own config says."""


class FlagConfig(_Section):
    """When a row or a suspect is reported."""

    target_precision: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    """Rows whose label is wrong with at least this probability are flagged."""
    budget: Count | None = None
    """Flag exactly so many rows, the most suspicious first, instead."""
    false_discovery_rate: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    """Expected share of clean suspects among the flagged ones."""


class GateConfig(_Section):
    """Limits for a release; `dataaudit run` exits with 1 when one is broken."""

    mislabel_rate: Share | None = None
    """Largest allowed estimated share of wrong labels."""
    contaminated: Annotated[int, BeforeValidator(_no_truth_value), Field(ge=0)] | None = None
    """Largest allowed number of flagged suspects."""
    checks: dict[str, Annotated[int, BeforeValidator(_no_truth_value), Field(ge=0)]] = {}
    """By the name of a check: the largest allowed number of things that it finds."""
    undecided: Literal["fail", "pass"] = "fail"
    """What becomes of a limit when the audit cannot tell whether it is met."""


class LossConfig(_Section):
    """How the model was trained. `loss: huber` is short for `loss: {kind: huber}`."""

    kind: Literal["squared", "absolute", "huber"] | None = None
    """Regression only: of the residual; `squared` where nothing is said."""
    class_weights: Annotated[list[Weight], Field(min_length=1)] | dict[str | int, Weight] | None = (
        None
    )
    """In the order of the classes, or by name (the others weigh 1)."""
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Share of each label that was dealt to all classes."""
    beta: Annotated[Number, Field(gt=0, le=1000)] = 0.1
    """Task preference by a causal language model: as in DPO."""

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value

    @property
    def weighs(self) -> bool:
        """Whether the mirror learns with another loss than the reported one."""
        return self.class_weights is not None or self.label_smoothing > 0


class BadRowsConfig(_Section):
    """What happens to rows that cannot be used: undecodable images, NaN inputs, bad labels."""

    largest_share: Share = 0.0
    """Up to this share of a split's rows is set aside; beyond it the audit stops."""
    longest_text: Count | None = None
    """A longer text, in characters, is a bad row too."""

    @property
    def asked(self) -> bool:
        """Whether rows have to be looked at before the audit begins."""
        return self.largest_share > 0 or self.longest_text is not None


class EngineConfig(_Section):
    """Where the forward passes run. `engine: ray` is short for `engine: {kind: ray}`."""

    kind: Literal["local", "ray"] = "local"
    """In this process, or in Ray workers (extra `ray`)."""
    address: StrictStr = "local"
    """Ray only: `local` starts Ray on this machine; `auto`, or `host:port`, joins a cluster."""
    workers: Count | None = None
    """Here, threads that preprocess rows ahead of the model (1 where nothing is said): several
    where decoding pictures takes longer than the model; your `preprocess` is then called in all of
    them at once. In Ray, processes that hold the models (2), each with a CPU core or a GPU."""

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value


class AuditConfig(_Section):
    """The whole of `audit.yaml`. Paths are absolute once loaded."""

    name: str = "audit"
    """Stands on the report."""
    task: Literal[
        "classification",
        "ordinal",
        "regression",
        "multi-label",
        "token-classification",
        "boxes",
        "segmentation",
        "preference",
        "instruction",
        "causal-lm",
        "diffusion",
    ] = "classification"
    """What the model was trained for."""
    model: ModelConfig | None = None
    """The trained model. Left out: `dataaudit run` looks at the data alone."""
    preprocess: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """`module:function`, from a data frame of rows to the model's input; your own code."""
    images: ImagesConfig = ImagesConfig()
    classes: Annotated[list[StrictStr | StrictInt], Field(min_length=1)] | None = None
    """In the order of the model's outputs; not needed where labels are 0, 1, 2, …"""
    loss: LossConfig = LossConfig()
    ignore_label: StrictStr | StrictInt | None = None
    """The label value of rows (or tokens) that are not to be judged, for example -100."""
    train: DataConfig
    """The training rows."""
    held_out: DataConfig | None = None
    """Trusted samples, which the model has not seen; keys as for `train`."""
    suspects: DataConfig | None = None
    """Samples that may be copies of training rows, such as the public test set; as `train`."""
    benchmarks: list[BenchmarkConfig] = []
    """What `suspects` is where it is a list: named sets of texts, whose passages are looked for in
    the training texts, without a model."""
    mirror: MirrorConfig = MirrorConfig()
    trace: TraceConfig = TraceConfig()
    flags: FlagConfig = FlagConfig()
    gates: GateConfig = GateConfig()
    checks: dict[str, StrictBool] = {}
    """By the name of a check: `false` leaves it out. All checks are on."""
    earlier: Annotated[list[Place], BeforeValidator(_as_list)] = []
    """Run directories of audits before this one, the latest last (one may stand alone): labels that
    reviewers settled there are not flagged again, unless row or label changed since."""
    bad_rows: BadRowsConfig = BadRowsConfig()
    engine: EngineConfig = EngineConfig()
    batch_size: Count = 256
    """Rows in each forward pass."""
    device: str = "cpu"
    """Where torch runs the model, for example `cuda`."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the forward passes over all rows (autocast). The mirror's steps, and how the few rows that
    a suspect matches react to it, are always exact: bfloat16 would round such a step away."""
    compile: StrictBool = False
    """Whether torch.compile is applied to the forward passes of perturbed models over all rows."""
    about: About = About()

    @property
    def trained_model(self) -> ModelConfig:
        """The section `model`, for what cannot do without.

        Raises
        ------
        ConfigError
            It was left out.
        """
        if self.model is None:
            raise ConfigError(
                "model: needed here; only `dataaudit run` looks at data without a model"
            )
        return self.model

    @field_validator("classes", mode="before")
    @classmethod
    def _no_truth_values_as_classes(cls, value: object) -> object:
        if isinstance(value, list):
            for item in value:
                if isinstance(item, bool):
                    raise ValueError(
                        f"YAML reads an unquoted yes/no/on/off/true/false as {item}; "
                        "put class names in quotes"
                    )
        return value

    @model_validator(mode="before")
    @classmethod
    def _benchmarks(cls, content: object) -> object:
        if isinstance(content, dict) and isinstance(content.get("suspects"), list):
            content = dict(content)
            content["benchmarks"] = content.pop("suspects")
        return content

    @field_validator("benchmarks")
    @classmethod
    def _distinct_benchmarks(
        cls, value: list[BenchmarkConfig], known: ValidationInfo
    ) -> list[BenchmarkConfig]:
        names = [item.name for item in value]
        if len(set(names)) < len(names) or set(names) & {"train", "held_out", "suspects"}:
            raise ValueError("every benchmark has a name of its own, and not that of a split")
        if value and known.data.get("model") is not None:
            raise ValueError("a list of suspects is looked for without a model; leave model out")
        return value

    @model_validator(mode="after")
    def _settings_of_a_generative_model(self) -> AuditConfig:
        if self.model is None:
            return self
        if self.model.schedule is not None and self.task != "diffusion":
            raise ValueError("model.schedule goes with task diffusion")
        if self.model.initial is not None and self.task in GENERATIVE:
            raise ValueError(f"model.initial is for models that judge labels, not for {self.task}")
        return self

    @model_validator(mode="after")
    def _settings_that_the_task_reads(self) -> AuditConfig:
        if self.task in GENERATIVE:
            return self
        kind = KINDS[self.task]
        pairs = kind.form == "pair"
        read = {
            "separator": kind.form == "several choices",
            "text": False,
            "completion": False,
            "prompt": pairs or kind.written,
            "input": kind.written,
            "chosen": pairs,
            "rejected": pairs,
        }
        unread = [
            f"{role}.{name}"
            for role in ("train", "held_out", "suspects")
            if (split := getattr(self, role)) is not None
            for name, is_read in read.items()
            if not is_read and getattr(split, name) != DataConfig.model_fields[name].default
        ]
        if self.loss.beta != LossConfig.model_fields["beta"].default and not pairs:
            unread.append("loss.beta")
        if self.model is not None and self.model.template is not None and not kind.written:
            unread.append("model.template")
        if unread:
            raise ValueError(f"not read for task {self.task}: {', '.join(unread)}; leave out")
        return self

    @model_validator(mode="after")
    def _order_of_the_classes(self) -> AuditConfig:
        if KINDS[self.task].ordered and self.classes is None:
            raise ValueError(f"task {self.task}: expected classes, from the lowest to the highest")
        return self

    @model_validator(mode="after")
    def _decisions_of_earlier_audits(self) -> AuditConfig:
        kind = KINDS[self.task]
        if self.earlier and kind.has_classes and not kind.one_class:
            raise ValueError(f"earlier is for tasks with one label for each row, not {self.task}")
        return self

    @field_validator("classes")
    @classmethod
    def _distinct_classes(cls, value: list[str | int] | None) -> list[str | int] | None:
        if value is not None and len({str(item) for item in value}) < len(value):
            raise ValueError("every class may be named once")
        return value

    @field_validator("classes")
    @classmethod
    def _classes_of_the_task(
        cls, value: list[str | int] | None, known: ValidationInfo
    ) -> list[str | int] | None:
        task = known.data.get("task")
        if value is None or task is None:
            return value
        KINDS[task].check_classes(value)
        return value

    @model_validator(mode="after")
    def _learning_of_the_whole_model(self) -> AuditConfig:
        short = self.mirror.kind == "head" or self.mirror.effort == "quick"
        if short and (KINDS[self.task].own_loss or KINDS[self.task].written):
            raise ValueError(
                f"mirror: kind head and effort quick let the last layer learn alone, which task "
                f"{self.task} cannot; use standard"
            )
        return self

    @field_validator("loss")
    @classmethod
    def _loss_of_the_task(cls, value: LossConfig, known: ValidationInfo) -> LossConfig:
        task = known.data.get("task")
        if task is None:
            return value
        if value.kind is not None and KINDS[task].form != "number":
            raise ValueError(
                f"kind is for task regression; task {task} has the cross-entropy, with "
                "class_weights and label_smoothing"
            )
        if value.class_weights is not None and KINDS[task].form == "pair":
            raise ValueError(f"class_weights are not for task {task}: its labels are two sides")
        kind = KINDS[task]
        if value.weighs and (kind.form == "number" or kind.own_loss or kind.written):
            raise ValueError(f"class_weights and label_smoothing are not for task {task}")
        return value

    @field_validator("train", "held_out", "suspects")
    @classmethod
    def _label_of_the_task(
        cls, value: DataConfig | None, known: ValidationInfo
    ) -> DataConfig | None:
        task = known.data.get("task")
        if value is None or task is None:
            return value
        opinions = ((f"opinions: {name}", names) for name, names in value.opinions.items())
        for key, names in (("label", value.label), ("labels", value.labels), *opinions):
            if isinstance(names, list) and len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"{key}: names the column {twice!r} twice")
        if KINDS[task].form == "pair" and (value.labels is not None or value.opinions):
            raise ValueError(
                f"labels, opinions: are not for task {task}, whose labels stand in no column"
            )
        if value.labels is not None and (known.field_name != "train" or not KINDS[task].one_class):
            raise ValueError(
                "labels: several annotators are for training rows, task classification or ordinal"
            )
        if value.opinions and (known.field_name != "train" or not KINDS[task].probed):
            raise ValueError("opinions: are for training rows, task classification")
        if value.opinions and value.labels is not None:
            raise ValueError("labels, opinions: expected one of them, found both")
        if isinstance(value.label, str):
            return value
        if KINDS[task].read_columns is None:
            raise ValueError(
                f"label names {len(value.label)} columns; expected one, because several are for "
                "task multi-label only"
            )
        return value


def load_config(path: Path) -> AuditConfig:
    """Read and validate an `audit.yaml`.

    Parameters
    ----------
    path : Path
        The file. Relative paths in it are relative to its folder.

    Raises
    ------
    ConfigError
        The file is missing, is no YAML mapping, or holds bad keys or values: all are listed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file{_similar_file(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    content = read_yaml(path, text)
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{path}: expected keys such as model: and train:, found {found}")
    try:
        config = AuditConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explained(path, error, AuditConfig)) from None
    return _with_absolute_paths(config, path.resolve().parent)


def config_from_python(
    label: str | list[str],
    id: str | None,
    settings: dict[str, Any],
    group: str | None = None,
    labels: list[str] | str | Path | None = None,
    opinions: dict[str, list[str]] | None = None,
) -> AuditConfig:
    """Validate the settings of `dataaudit.audit(...)`; there, data and model are objects.

    Raises
    ------
    ConfigError
        A setting is unknown or bad: all are listed.
    """
    split = {"path": "(Python object)", "label": label, "id": id, "group": group}
    train = {**split, "labels": labels, "opinions": opinions or {}}
    # The others may lack the id column; where they have it, it is used. Only suspects are compared
    # by group.
    others = {
        "held_out": {**split, "id": None, "group": None},
        "suspects": {**split, "id": None},
    }
    content = {"model": {"factory": "python:object"}, "train": train, **others, **settings}
    refuse_unusable(content, "audit()")
    try:
        return AuditConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explained("audit()", error, AuditConfig)) from None


def _with_absolute_paths(config: AuditConfig, folder: Path) -> AuditConfig:
    updates: dict[str, Any] = {}
    for role in ("train", "held_out", "suspects"):
        split: DataConfig | None = getattr(config, role)
        if split is not None:
            places: dict[str, Path] = {"path": _located(folder, split.path)}
            if isinstance(split.labels, Path):
                places["labels"] = _located(folder, split.labels)
            if split.images is not None:
                places["images"] = _located(folder, split.images)
            updates[role] = split.model_copy(update=places)
    updates["earlier"] = [_located(folder, directory) for directory in config.earlier]
    updates["benchmarks"] = [
        item.model_copy(update={"path": _located(folder, item.path)}) for item in config.benchmarks
    ]
    if config.model is not None:
        names = ("weights", "initial", "path")
        given = {name: getattr(config.model, name) for name in names}
        found = {name: _located(folder, at) for name, at in given.items() if at is not None}
        updates["model"] = config.model.model_copy(update=found)
    return config.model_copy(update=updates)


def _located(folder: Path, place: Path) -> Path:
    """Return where a path leads from a folder; of what lies on a store, where the copy is."""
    if place_of(place) is None:
        return folder / place
    # Here, because every command would wait for it.
    from dataaudit.storage.fetching import here

    return here(place)


def _similar_file(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f" (nor a folder {path.parent})"
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / close[0]}?" if close else ""
