"""From a configuration to a pipeline that is ready for its first frame."""

from collections.abc import Callable

from rmpsam_ros.pipeline.config import PipelineConfig, PipelineError
from rmpsam_ros.pipeline.pipeline import Pipeline
from rmpsam_ros.prompting import PromptEngineError, load_prompt_engine
from rmpsam_ros.runtime import EngineError, load_engine
from rmpsam_ros.runtime.network import label_set_of


def create_pipeline(
    config: PipelineConfig, progress: Callable[[str], None] = lambda line: None
) -> Pipeline:
    """Load everything and warm up.

    Args:
        progress: called with one line before every step that takes longer than a moment.

    Raises:
        PipelineError: anything of the configuration cannot be used; one line says what and why.
    """
    try:
        label_set = label_set_of(config.network, config.labels)
        prompt_engine = load_prompt_engine(config.prompting, config.network, progress)
        engine = load_engine(config.network, label_set.num_classes, progress)
        pipeline = Pipeline(engine, label_set, config, prompt_engine)
        if config.network.clip_frames > 1:
            progress(f"objects are decoded from clips of {config.network.clip_frames} images")
        progress("warming up")
        pipeline.warm_up()
    except (EngineError, PromptEngineError, ValueError) as error:
        raise PipelineError(str(error)) from error
    return pipeline
