"""Settings of prompts: what answers them, on which frames, and how objects are followed."""

from dataclasses import dataclass, field

from rmpsam_ros import defaults
from rmpsam_ros.tracking.prompted_records import FollowConfig


@dataclass(frozen=True, slots=True)
class PromptingConfig:
    """Settings of prompts.

    Attributes:
        engine: what answers them, a name of `rmpsam_ros.prompting.PROMPT_ENGINES`.
        weights: weights of that engine (.safetensors, .pt, .pth); empty: those in the package,
            which mobile_sam has, or fetched by ``rmpsam weights fetch``. Not for rmpsam, which
            uses the weights of the network.
        keep_seconds: how long frames are kept to answer prompts on them, seconds.
        keep_megabytes: most memory of these frames, 10^6 bytes; the newest one is always kept.
        max_objects: most objects that are followed at the same time.
        prompt_rate: how often per second followed objects are looked for by an engine with an
            image encoder of its own, by the stamps of the frames; 0: in every frame there is time
            for. The rmpsam engine looks in every frame.
        follow: when an answer is still the followed object.
    """

    engine: str = "rmpsam"
    weights: str = ""
    keep_seconds: float = defaults.KEEP_SECONDS
    keep_megabytes: int = defaults.KEEP_MEGABYTES
    max_objects: int = defaults.MAX_PROMPTED_OBJECTS
    prompt_rate: float = defaults.PROMPT_RATE
    follow: FollowConfig = field(default_factory=FollowConfig)

    def __post_init__(self) -> None:
        """Raise ValueError for a setting that makes no sense."""
        limits = {
            "keep_seconds": (0.0, 600.0),
            "keep_megabytes": (1, 1_000_000),
            "max_objects": (1, 256),
            "prompt_rate": (0.0, 1000.0),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; expected a number from {low:g} to {high:g}")
