"""Training of the network: data sets, losses, matcher, loop (paper sections 3.2, 4 and 7.1).

Examples:
    >>> from rmpsam_ros.training.optimizer import OptimizerConfig, learning_rate
    >>> config = OptimizerConfig(learning_rate=1e-4, warmup_steps=500, schedule="step")
    >>> [round(learning_rate(step, 12_000, config), 7) for step in (500, 7_999, 8_001, 11_001)]
    [0.0001, 0.0001, 1e-05, 1e-06]
"""
