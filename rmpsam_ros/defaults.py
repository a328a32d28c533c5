"""Defaults that the configurations of the pipeline and the node's parameters share.

A module of its own without imports: the node declares its parameters before it loads PyTorch.
"""

ENGINE = "auto"
DEVICE = "auto"
NUM_THREADS = 0  # as many as the engine likes
CLIP_FRAMES = 1
LONG_SIDE, SHORT_SIDE = 640, 480  # pixels
SCORE_THRESHOLD, OVERLAP_THRESHOLD = 0.14, 0.3  # official: 0.8; scores of the demo are low
# Chosen on development sets (docs/results.md); zeros are the official post-processing.
ANY_THING = True
DUPLICATE_IOU, SMALL_FIRST, THING_BONUS = 0.4, 0.3, 0.0
MIN_PIECE = 0.3  # share of the largest piece
MIN_AREA, MAX_SPECK, MAX_HOLE = 0.002, 0.001, 0.005  # shares of the image
CONFIRM_HITS = 3  # frames
MEMORY_SECONDS = 10.0
BACKWARD_JUMP = 0.5  # seconds
KEEP_SECONDS = 5.0
KEEP_MEGABYTES = 512  # 10^6 bytes
MAX_PROMPTED_OBJECTS = 16
PROMPT_RATE = 2.0  # times per second
