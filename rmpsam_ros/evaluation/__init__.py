"""Metrics of the field, and figures of a network on annotated data.

Examples:
    >>> import numpy as np
    >>> from rmpsam_ros.evaluation.panoptic_quality import PanopticQuality
    >>> truth = np.array([[1, 1, 2, 2]] * 4)
    >>> predicted = np.array([[1, 1, 1, 2]] * 4)
    >>> quality = PanopticQuality(is_thing=[True])
    >>> quality.add(predicted, {1: 0, 2: 0}, truth, {1: 0, 2: 0})
    >>> round(quality.score().pq, 1)  # one match of IoU 2/3, one miss, one false alarm
    33.3

    >>> from rmpsam_ros.evaluation.interactive import click_position
    >>> click_position(np.pad(np.ones((3, 5), bool), 2))
    (4, 3)
"""
