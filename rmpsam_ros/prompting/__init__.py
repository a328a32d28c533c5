"""Prompts without ROS: exact frames, engines that answer, objects followed over time.

Examples:
    >>> from rmpsam_ros.prompting import PROMPT_ENGINES
    >>> tuple(PROMPT_ENGINES)
    ('rmpsam', 'mobile_sam', 'repvit_sam', 'rwkv_sam_t', 'rwkv_sam_s', 'rwkv_sam_b')

    >>> import numpy as np
    >>> from rmpsam_ros.segmentation.prompt_types import ObjectPrompt, PromptError, validate_prompt
    >>> no_boxes = np.empty((0, 4), np.float32)
    >>> prompt = ObjectPrompt(np.float32([[700, 20]]), np.uint8([1]), no_boxes)
    >>> try:
    ...     validate_prompt(prompt, (480, 640))
    ... except PromptError as error:
    ...     print(error)
    point (700, 20) is outside the 640 x 480 image
"""

from rmpsam_ros.prompting.answers import (
    Answer,
    FoundMask,
    GridStep,
    PromptEngine,
    PromptEngineError,
)
from rmpsam_ros.prompting.config import PromptingConfig
from rmpsam_ros.prompting.engines.shared_decoder import SharedDecoder
from rmpsam_ros.prompting.frames import FrameNotKeptError, FrameStore, KeptFrame, NoFrameError
from rmpsam_ros.prompting.load import PROMPT_ENGINES, import_engines, load_prompt_engine
from rmpsam_ros.prompting.prompter import (
    EverythingFound,
    EverythingProgress,
    FollowPass,
    Prompter,
)
from rmpsam_ros.prompting.query_masks import QueryMasks, pack_queries
from rmpsam_ros.tracking.prompted_records import (
    MAX_ID_LENGTH,
    FollowConfig,
    PromptedMask,
    PromptedObject,
    PromptState,
    TooManyPromptsError,
)

__all__ = [
    "MAX_ID_LENGTH",
    "PROMPT_ENGINES",
    "Answer",
    "EverythingFound",
    "EverythingProgress",
    "FollowConfig",
    "FollowPass",
    "FoundMask",
    "FrameNotKeptError",
    "FrameStore",
    "GridStep",
    "KeptFrame",
    "NoFrameError",
    "PromptEngine",
    "PromptEngineError",
    "PromptState",
    "PromptedMask",
    "PromptedObject",
    "Prompter",
    "PromptingConfig",
    "QueryMasks",
    "SharedDecoder",
    "TooManyPromptsError",
    "load_prompt_engine",
    "pack_queries",
]

import_engines()
