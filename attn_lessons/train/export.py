"""Write a trained network as ONNX: images from 0 to 1 in, logits out, any number at once; normalisation is inside."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..insight.photographs import size_of_images
from ..models import trained
from ..models.description import normalisation
from .files import must_be_new
from .options import Command, argument, option

CLOSE = 1e-3  # how far the logits may be from torch's


@dataclass(kw_only=True)
class Settings(Command):
    run: str = argument("folder of a run, a weights file, or the name of a network of the course")
    out: Path = option("the file (default: network.onnx)", Path("network.onnx"), type=Path)


class FromZeroToOne(nn.Module):
    """A network and the normalisation that its images want."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        for name, value in zip(("mean", "std"), normalisation(network), strict=True):
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (B, 3, H, W), 0 to 1
        return self.network((images - self.mean) / self.std)


def main(settings: Settings) -> None:
    must_be_new(settings.out, "--out")
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ImportError('ONNX needs two more packages: pip install "attn-lessons[export]".') from None
    network, about = trained(settings.run)
    model = FromZeroToOne(network).eval()
    images = torch.rand(2, 3, *size_of_images(network))
    program = torch.onnx.export(model, (images,), dynamo=True, input_names=["images"], output_names=["logits"],
                                dynamic_shapes={"images": {0: torch.export.Dim("batch")}}, verbose=False)  # fmt: skip
    program.model.metadata_props.update({name: json.dumps(about.get(name)) for name in ("classes", "size", "command")})
    program.save(settings.out)
    print(f"{settings.out}: images (batch, {', '.join(map(str, images.shape[1:]))}) from 0 to 1 → logits (batch, "
          f"{len(model(images)[0])}); {difference(settings.out, model)}.")  # fmt: skip


@torch.no_grad()
def difference(path: Path, model: FromZeroToOne) -> str:
    """How far the file's logits are from torch's, in words; too far is an error."""
    try:
        import onnxruntime
    except ImportError:
        return "not compared with torch, since onnxruntime is not installed"
    session, worst = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]), 0.0
    for batch in (1, 3):
        images = torch.rand(batch, 3, *size_of_images(model.network))
        (logits,) = session.run(None, {"images": images.numpy()})
        worst = max(worst, (torch.from_numpy(logits) - model(images)).abs().max().item())
    if not worst <= CLOSE:
        path.unlink()
        raise ValueError(f"the logits of the exported network are {worst:.2g} from torch's: nothing was written.")
    return f"its logits are within {worst:.0e} of torch's"
