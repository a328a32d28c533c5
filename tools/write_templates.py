"""Writes the graphs without weights that come with the package (`rmpsam_ros.export.templates`).

    python tools/write_templates.py            those that are missing; the others stay
    python tools/write_templates.py --anew     all of them: after every change of what is exported

A file takes up to a minute. Files that no network of the package has any more are deleted.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from rmpsam_ros.export import templates
from rmpsam_ros.export.forms import DTYPES, Compute
from rmpsam_ros.model import MODEL_CONFIGS, RmpSam, build_model
from rmpsam_ros.model.deform_conv import DeformConv2d
from rmpsam_ros.model.inference_form import Part
from rmpsam_ros.model.sam import PROMPT_MODELS, PromptModel, build_prompt_model

FOLDER = Path(__file__).resolve().parent.parent / "rmpsam_ros" / "export" / "templates"
FIRST = ("rmpsam_tiny_vit_lite0", "mobile_sam")  # whose weights are in the package


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--anew", action="store_true", help="write what is there already, too")
    parser.add_argument("--only", nargs="*", help="names of networks; nothing is deleted then")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    names = options.only or sorted({*MODEL_CONFIGS, *PROMPT_MODELS}, key=lambda n: n not in FIRST)
    wanted = set()
    for name in names:
        for label, part in parts_of(name):
            path = FOLDER / f"{templates.structure(part)}.onnx.gz"
            if path.name not in wanted and (options.anew or not path.is_file()):
                print(f"{label}: {path.name}", flush=True)
                path.write_bytes(templates.written(part))
            wanted.add(path.name)
    for path in FOLDER.glob("*.onnx.gz"):
        if not options.only and path.name not in wanted:
            print(f"deleting {path.name}")
            path.unlink()


def parts_of(name: str) -> Iterator[tuple[str, Part]]:
    """Return every part that an engine asks for, in the forms that it may ask for."""
    model: RmpSam | PromptModel = (
        build_model(name) if name in MODEL_CONFIGS else build_prompt_model(name)
    )
    computes: tuple[Compute, ...] = ("fp32", "fp16", "bf16")
    for compute in computes if name in MODEL_CONFIGS else computes[:2]:
        form = model.inference_form(DTYPES[compute])
        for part in form.parts:
            if form.part(part).pieces or (compute != "fp32" and part != "encoder"):
                continue
            for operator in (False, True):
                layers = [
                    module for module in form.network.modules() if isinstance(module, DeformConv2d)
                ]
                for layer in layers:
                    layer.as_onnx_operator = operator
                if not operator or (layers and part == "encoder" and compute == "fp32"):
                    yield f"{name} {part} {compute}", form.part(part)


if __name__ == "__main__":
    main()
