"""torch modules as trained models: what can be mirrored, and in which precision."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dataaudit.config import ImagesConfig
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, ModelError
from dataaudit.models.detector import Detector
from dataaudit.models.detector_inputs import each_alone
from dataaudit.models.image_inputs import ImageInputs
from dataaudit.models.inputs import default_preprocess
from dataaudit.models.trained import Preprocess, TrainedModel
from dataaudit.models.wrappers import unwrapped

_HALF = (torch.float16, torch.bfloat16)
_QUANTISED_NAMES = ("qweight", "qzeros", "_packed_params")


@dataclass(frozen=True)
class TorchModel:
    """A module from the user's own code, or from an exported program.

    Attributes
    ----------
    module : torch.nn.Module
    images : ImagesConfig
        How images become its inputs, where there is no `preprocess`.
    """

    module: nn.Module
    images: ImagesConfig

    label_values: None = None
    class_names: None = None
    origin: None = None

    def trained(self, train: Samples, preprocess: Preprocess | None, seed: int) -> TrainedModel:
        """Return the model; see `ModelAdapter`."""
        module, note = mirrorable(self.module)
        described_as, inputs = described(module), ""
        if preprocess is None:
            preprocess = default_preprocess(train, module, self.images)
            inputs = f"; {preprocess.description}" if isinstance(preprocess, ImageInputs) else ""
            if train.kind.own_loss:
                if self.images.size is not None:
                    raise ConfigError(
                        "images.size: boxes are in pixels of the pictures as they are; a detector "
                        "scales pictures itself"
                    )
                preprocess = each_alone(preprocess)
        if train.kind.own_loss:
            module = Detector(module)
        return TrainedModel(module, preprocess, described_as + inputs, note)


def described(module: nn.Module) -> str:
    """Return what the report calls a module."""
    count = sum(parameter.numel() for parameter in module.parameters())
    return f"{type(module).__name__}, {count:,} parameters"


def mirrorable(module: nn.Module) -> tuple[nn.Module, str]:
    """Return the module in eval mode and a precision that steps can be taken in, and a note.

    What wraps a module to run it elsewhere or faster is taken off: DataParallel, torch.compile.
    The user's own module keeps its precision and what is frozen in it; where either has to change,
    a copy is worked on. Weights of 16 bits are widened to float32, which changes no value: the
    steps of a mirror are smaller than what 16 bits can tell apart. Where all parameters are frozen,
    as people do for inference, all may move.

    Raises
    ------
    ModelError
        The module has no parameters, is a TorchScript one, is quantised, has layers without weights
        yet, or a weight that is no finite number.
    """
    module = unwrapped(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            "the model is a TorchScript module, whose derivatives cannot be relied on; return the "
            "module it was made from, or a torch.export program"
        )
    quantised = _quantised_part(module)
    if quantised is not None:
        raise ModelError(
            f"the model is quantised ({quantised}): its weights cannot take small steps, so "
            "nothing can be mirrored; audit with the model as it was before it was quantised"
        )
    if not any(True for _ in module.parameters()):
        raise ModelError(f"{type(module).__name__} has no parameters; nothing can be mirrored")
    _refuse_unusable_weights(module)
    module.eval()
    half = {tensor.dtype for tensor in _floating(module) if tensor.dtype in _HALF}
    frozen = not any(parameter.requires_grad for parameter in module.parameters())
    if frozen or any(tensor.is_inference() for tensor in _tensors(module)):
        # Tensors of inference mode can take no gradients; their copies can.
        module = copy.deepcopy(module)
        if frozen:
            module.requires_grad_(True)
    if not half:
        return module, ""
    kind = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in half))
    note = (
        f"The model's weights are {kind}; they were widened to float32, which changes no value, "
        "because the steps of a mirror are too small for 16 bits. Its outputs can differ from the "
        "deployed model's by rounding."
    )
    return copy.deepcopy(module).float(), note


@torch.no_grad()
def _refuse_unusable_weights(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ModelError(
                f"{type(module).__name__}: {name} is a parameter of a lazy layer that has no "
                "weights yet; expected a trained module: load its weights, or call it once first"
            )
        if parameter.is_floating_point() and not bool(torch.isfinite(parameter).all()):
            bad = int((~torch.isfinite(parameter)).sum())
            raise ModelError(
                f"{type(module).__name__}: parameter {name} holds {bad} values that are NaN or "
                "infinite; expected finite weights (did the training diverge?)"
            )
    for name, buffer in module.named_buffers():
        # Masks are filled with infinities; nothing is filled with NaN.
        if buffer.is_floating_point() and bool(torch.isnan(buffer).any()):
            raise ModelError(
                f"{type(module).__name__}: buffer {name} holds NaN; expected finite numbers (did "
                "the training diverge?)"
            )


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _floating(module: nn.Module) -> list[Tensor]:
    return [tensor for tensor in module.parameters() if tensor.is_floating_point()]


def _quantised_part(module: nn.Module) -> str | None:
    """Return what shows that a module is quantised, or None."""
    for name, part in module.named_modules():
        origin = type(part).__module__
        if ".quantized" in origin or origin.startswith(("bitsandbytes", "torchao")):
            return f"layer {name or 'itself'}: {type(part).__name__}"
    for name, parameter in module.named_parameters():
        if _is_quantised(parameter):
            return f"parameter {name}: {type(parameter.data).__name__} of {parameter.dtype}"
    for name, _ in module.named_buffers():
        if name.rpartition(".")[2] in _QUANTISED_NAMES:
            return f"buffer {name}"
    return None


def _is_quantised(parameter: Any) -> bool:
    # One byte or less holds no floating weight; packages for quantising bring their own tensors.
    subclass = type(parameter.data) is not Tensor and "quant" in type(parameter.data).__name__
    narrow = parameter.dtype != torch.bool and parameter.dtype.itemsize == 1
    return bool(parameter.is_quantized or subclass or narrow)
