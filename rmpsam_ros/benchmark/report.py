"""Report of a benchmark, as JSON and as tables in Markdown."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass

YARDSTICK = "ResNet-18"
USUAL, FASTER = "channels first", "channels last"


@dataclass(frozen=True, slots=True)
class Backbone:
    """Eager PyTorch in fp32 on a bare backbone, one image: what everything is compared with.

    Attributes:
        name: `YARDSTICK`, or of the network's own backbone.
        layout: of its memory; `USUAL` is what everybody has who does nothing about it.
        width, height: of the network input before padding.
        times: of all rounds, in seconds.
    """

    name: str
    layout: str
    width: int
    height: int
    times: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One engine on one image size; times are medians over the rounds, in seconds.

    Attributes:
        engine, precision: what ran.
        width, height: of the camera image, which is also the network input before padding.
        batch: images in one pass.
        prompts: prompts in the same pass, on each image.
        rounds: how often it was measured.
        total: from the images to run lengths, for the whole batch; ``fastest`` the shortest of all
            runs, which a busy machine spoils least, and ``slowest`` the 95th percentile.
        preprocess, inference, postprocess: the parts of ``total``.
        late_prompt: one prompt on a frame whose features are kept.
        ratio: ``total`` per image over the time of eager PyTorch for a bare ResNet-18, in its
            usual layout, in the same rounds; ``fastest_ratio`` the same of the shortest times.
        late_prompt_share: ``late_prompt`` over the time of a frame without prompts.
        prompts_share: how much longer a frame takes than without prompts, as a share of that;
            None where there are no prompts.
        accepted: whether its results agree with fp32 PyTorch; '' if so, else in what they do not.
    """

    engine: str
    precision: str
    width: int
    height: int
    batch: int
    prompts: int
    rounds: int
    total: float
    fastest: float
    slowest: float
    preprocess: float
    inference: float
    postprocess: float
    late_prompt: float
    ratio: float
    fastest_ratio: float
    late_prompt_share: float
    prompts_share: float | None
    accepted: str

    @property
    def frames_per_second(self) -> float:
        """Images per second when one pass follows the other."""
        return self.batch / self.total


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """All engines of one network."""

    model: str
    weights: str
    backbones: tuple[Backbone, ...]
    rows: tuple[Row, ...]

    def to_table(self) -> str:
        """Return the report as a table in Markdown, times in milliseconds."""
        lines = [
            f"{self.model} ({self.weights})",
            "",
            "| engine | precision | image | batch | prompts | pass | fastest | 95 % | frames/s | "
            "preprocess | network | postprocess | late prompt | x ResNet-18 | fastest x | "
            "prompts cost | late prompt costs | agrees |",
            "|---|---|---|" + "---:|" * 14 + "---|",
        ]
        for bare in self.backbones:
            usual = next(
                backbone
                for backbone in self.backbones
                if (backbone.name, backbone.layout) == (YARDSTICK, USUAL)
                and (backbone.width, backbone.height) == (bare.width, bare.height)
            )
            middle, best = statistics.median(bare.times), min(bare.times)
            lines.append(
                f"| eager PyTorch, bare {bare.name}, {bare.layout} | fp32 "
                f"| {bare.width}x{bare.height} | 1 | | {middle * 1e3:.1f} | {best * 1e3:.1f} "
                f"| | | | | | | {middle / statistics.median(usual.times):.2f} "
                f"| {best / min(usual.times):.2f} | | | |"
            )
        return "\n".join([*lines, *map(_line, self.rows)])


def _line(row: Row) -> str:
    parts = (row.preprocess, row.inference, row.postprocess, row.late_prompt)
    cells = [
        row.engine,
        row.precision,
        f"{row.width}x{row.height}",
        str(row.batch),
        str(row.prompts),
        *(f"{seconds * 1e3:.1f}" for seconds in (row.total, row.fastest, row.slowest)),
        f"{row.frames_per_second:.1f}",
        *(f"{seconds * 1e3:.1f}" for seconds in parts),
        f"{row.ratio:.2f}",
        f"{row.fastest_ratio:.2f}",
        "" if row.prompts_share is None else f"{row.prompts_share:.1%}",
        f"{row.late_prompt_share:.1%}",
        "no" if row.accepted else "yes",
    ]
    return f"| {' | '.join(cells)} |"


@dataclass(frozen=True, slots=True)
class Postprocessing:
    """Fusion, upsampling and run lengths of a made-up scene on the CPU.

    Attributes:
        median, fastest: times in seconds.
    """

    width: int
    height: int
    segments: int
    median: float
    fastest: float

    def __str__(self) -> str:
        return (
            f"post-processing of {self.segments} segments at {self.width}x{self.height}: "
            f"{self.median * 1e3:.1f} ms, fastest {self.fastest * 1e3:.1f} ms"
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when was measured."""

    device: str
    processor: str
    date: str

    def __str__(self) -> str:
        return f"{self.device}; {self.processor}; {self.date}"


def to_json(
    machine: Machine, postprocessing: Postprocessing, networks: Iterable[NetworkReport]
) -> str:
    """Return everything as one JSON document."""
    document = {
        "machine": asdict(machine),
        "postprocessing": asdict(postprocessing),
        "networks": [asdict(network) for network in networks],
    }
    return json.dumps(document, indent=1)
