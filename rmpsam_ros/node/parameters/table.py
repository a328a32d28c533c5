"""The parameters of the node, in one table, and the checks.

`camera_source_table` has those of the camera source. `declaration` declares them, `docs` writes
``docs/parameters.md`` and ``config/rmpsam.yaml``, and `settings` holds their values. No ROS here.
"""

from __future__ import annotations

from rmpsam_ros import defaults
from rmpsam_ros.node.parameters.parameter import Change, Parameter
from rmpsam_ros.node.parameters.results_table import RESULTS

# By headings of the documentation.
NODE_PARAMETERS: dict[str, tuple[Parameter, ...]] = {
    "Start": (
        Parameter(
            "autostart",
            True,
            "Configure and activate at start. false: wait for a lifecycle manager.",
        ),
    ),
    "Network": (
        Parameter(
            "model",
            "",
            "Network: rmpsam_lite, rmpsam_tiny_vit_lite0, rmpsam_r18, rmpsam_tiny_vit or "
            "rmpsam_r50. Empty: that of the weights.",
            Change.UNCONFIGURED,
        ),
        Parameter(
            "weights",
            "demo",
            "Checkpoint file (.safetensors or .pth), demo: the model in the package, or random: "
            "meaningless results.",
            Change.UNCONFIGURED,
        ),
        Parameter(
            "text_embeddings",
            "",
            "Class table (.safetensors, .npy or .pth) for weights that hold none.",
            Change.UNCONFIGURED,
        ),
        Parameter(
            "labels",
            "",
            "Label set: coco_panoptic, youtube_vis_2019, or a YAML or JSON file. Empty: that of "
            "the weights, or coco_panoptic.",
            Change.UNCONFIGURED,
        ),
        Parameter(
            "engine",
            defaults.ENGINE,
            "What executes the network; auto takes the fastest that works here.",
            Change.UNCONFIGURED,
        ),
        Parameter(
            "device",
            defaults.DEVICE,
            "Where the network runs: auto, cpu, cuda or cuda:N.",
            Change.UNCONFIGURED,
        ),
        Parameter(
            "num_threads",
            defaults.NUM_THREADS,
            "Threads of the network on a CPU; 0: the engine decides.",
            Change.UNCONFIGURED,
            range=(0, 256),
        ),
        Parameter(
            "stall_timeout",
            10.0,
            "When the network has worked on one image or request for longer than this, it is "
            "reported to hang and waiting requests are refused, seconds; three times as long for "
            "a prompt engine of its own, which comes after the images.",
            Change.LIVE,
            range=(0.1, 3600.0),
        ),
        Parameter(
            "long_side",
            defaults.LONG_SIDE,
            "The image is resized so that its long side does not exceed this, pixels.",
            Change.UNCONFIGURED,
            range=(32, 4096),
        ),
        Parameter(
            "short_side",
            defaults.SHORT_SIDE,
            "The image is resized so that its short side does not exceed this, pixels.",
            Change.UNCONFIGURED,
            range=(32, 4096),
        ),
    ),
    "Results": RESULTS,
    "Tracks": (
        Parameter(
            "confirm_hits",
            defaults.CONFIRM_HITS,
            "Frames in which a thing must have been seen for its track to be confirmed.",
            Change.UNCONFIGURED,
            range=(1, 1000),
        ),
        Parameter(
            "memory_seconds",
            defaults.MEMORY_SECONDS,
            "A confirmed track that is unseen for longer than this is forgotten, seconds.",
            Change.UNCONFIGURED,
            range=(0.0, 3600.0),
        ),
        Parameter(
            "backward_jump",
            defaults.BACKWARD_JUMP,
            "An image stamp that goes back by more than this (restarted simulation, looped bag) "
            "ends all tracks, seconds.",
            Change.UNCONFIGURED,
            range=(0.0, 3600.0),
        ),
        Parameter(
            "clip_frames",
            defaults.CLIP_FRAMES,
            "1: objects are found in each image alone. T above 1: in the newest T images "
            "together, which is steadier and takes T times the decoder's time.",
            Change.UNCONFIGURED,
            range=(1, 16),
        ),
    ),
    "Topics": (
        Parameter(
            "cameras",
            "",
            "Names of several cameras, separated by commas: each has its own input "
            "`<camera>/image` and its own results below `~/<camera>/`. Empty: one camera, with "
            "its input `image` and its results below `~/`.",
        ),
        Parameter(
            "image_transport",
            "raw",
            "raw: sensor_msgs/Image on `image`. compressed: JPEG or PNG on `image`/compressed.",
            choices=("raw", "compressed"),
        ),
        Parameter(
            "image_reliability",
            "auto",
            "How images are asked for. reliable: what is lost in the middleware is sent again, "
            "and a camera that sends best effort is not heard. best_effort: every camera is "
            "heard. auto: reliable, and best effort from when a camera is found that sends so.",
            choices=("auto", "reliable", "best_effort"),
        ),
        Parameter(
            "damaged_images",
            "refuse",
            "What is done with a JPEG whose data is damaged, so that the decoder makes up some of "
            "its pixels: refuse (counted as failed) or use. Either way it is reported.",
            Change.LIVE,
            choices=("refuse", "use"),
        ),
        Parameter(
            "mono16_white",
            65535,
            "Value of mono16 images that is white: 1023, 4095 or 16383 for cameras of 10, 12 or "
            "14 bits; 65535: the upper 8 of 16 bits are used.",
            Change.LIVE,
            range=(1, 65535),
        ),
        Parameter(
            "input_timeout",
            5.0,
            "Warn when no image has arrived for this long, seconds.",
            Change.LIVE,
            range=(0.1, 3600.0),
        ),
        Parameter(
            "latency_warning",
            1.0,
            "Warn when results come later than this after their image arrived, mean of the last "
            "100, seconds.",
            Change.LIVE,
            range=(0.001, 3600.0),
        ),
        Parameter(
            "overlay_rate",
            10.0,
            "Largest number of overlay images per second.",
            Change.LIVE,
            range=(0.1, 120.0),
        ),
    ),
    "Depth and other packages": (
        Parameter(
            "use_depth",
            False,
            "Subscribe to `depth` and locate tracks and pixels in space: `~/positions`, "
            "`~/markers`, `~/labelled_cloud`, `~/organized_cloud`, `~/detections_3d`.",
        ),
        Parameter(
            "rectified",
            False,
            "The images are rectified (image_rect): P of camera_info is used, without distortion; "
            "otherwise K and D.",
        ),
        Parameter(
            "depth_tolerance",
            0.03,
            "Largest difference of the stamps of an image and its depth image, seconds.",
            Change.LIVE,
            range=(0.0, 10.0),
        ),
        Parameter(
            "cloud_rate",
            5.0,
            "Largest number of clouds per second, of each kind.",
            Change.LIVE,
            range=(0.1, 120.0),
        ),
        Parameter(
            "cloud_stride",
            4,
            "The labelled cloud has a point for every n-th pixel in both directions; this is n.",
            Change.LIVE,
            range=(1, 64),
        ),
        Parameter(
            "mask_classes",
            "",
            "Classes that are 255 on `~/mask/image`: names of the label set, separated by commas. "
            "Empty: no mask is published.",
            Change.LIVE,
        ),
    ),
    "Prompts": (
        # Not the default of PromptingConfig, rmpsam, which works without further weights.
        Parameter(
            "prompt_engine",
            "mobile_sam",
            "What answers prompts: mobile_sam, repvit_sam, rwkv_sam_t, rwkv_sam_s or rwkv_sam_b, "
            "with an image encoder of its own that runs for prompted images only; or rmpsam, the "
            "network itself.",
            Change.UNCONFIGURED,
        ),
        Parameter(
            "prompt_weights",
            "",
            "Weights of the prompt engine (.safetensors, .pt or .pth). Empty: those in the "
            "package, which mobile_sam has, or those of `rmpsam weights fetch`; rmpsam uses those "
            "of the network.",
            Change.UNCONFIGURED,
        ),
        Parameter(
            "keep_seconds",
            defaults.KEEP_SECONDS,
            "How long images are kept to answer prompts on them, seconds.",
            Change.UNCONFIGURED,
            range=(0.0, 600.0),
        ),
        Parameter(
            "keep_megabytes",
            defaults.KEEP_MEGABYTES,
            "Largest memory for each camera's images that are kept for prompts, 10^6 bytes; the "
            "newest image is always kept.",
            Change.UNCONFIGURED,
            range=(1, 1_000_000),
        ),
        Parameter(
            "max_prompts",
            defaults.MAX_PROMPTED_OBJECTS,
            "Prompted objects of each camera that are followed at the same time; more are "
            "refused. Lowering the value ends none that is followed already.",
            Change.LIVE,
            range=(1, 256),
        ),
        Parameter(
            "prompt_rate",
            defaults.PROMPT_RATE,
            "How often per second followed objects are searched for; 0: as often as possible. The "
            "prompt engine rmpsam searches in every image.",
            Change.UNCONFIGURED,
            range=(0.0, 1000.0),
        ),
        Parameter(
            "prompt_requests_rate",
            10.0,
            "Prompt requests and clicks accepted per second and camera; more are answered BUSY.",
            Change.LIVE,
            range=(0.1, 1000.0),
        ),
        Parameter(
            "max_waiting_prompts",
            4,
            "Prompt requests of each camera that may wait or be in progress at the same time; "
            "more are answered BUSY.",
            range=(1, 32),
        ),
        Parameter(
            "prompt_timeout",
            10.0,
            "A prompt request is given up after this time, waiting included, seconds.",
            Change.LIVE,
            range=(0.1, 600.0),
        ),
    ),
}
