"""From network output to results: pure functions on arrays, free of ROS.

Examples:
    >>> import numpy as np
    >>> from rmpsam_ros.segmentation.run_length import decode_mask, encode_mask
    >>> mask = np.zeros((4, 6), bool)
    >>> mask[1:3, 2:5] = True
    >>> packed = encode_mask(mask)
    >>> packed.box, packed.counts.tolist(), packed.area
    ((2, 1, 5, 3), [0, 6], 6)
    >>> bool((decode_mask(packed) == mask).all())
    True

    >>> from rmpsam_ros.segmentation.preprocess import preprocess
    >>> array, geometry = preprocess(np.zeros((720, 1280, 3), np.uint8), limits=(640, 480))
    >>> array.shape, geometry.resized_size, geometry.padded_size
    ((1, 3, 384, 640), (360, 640), (384, 640))

    >>> from rmpsam_ros.segmentation.labels import load_label_set
    >>> labels = load_label_set("coco_panoptic")
    >>> len(labels.labels), labels.labels[0].name, labels.labels[0].is_thing
    (133, 'person', True)
"""
