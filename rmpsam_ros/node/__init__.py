"""The ROS 2 node: topics, parameters, services and diagnostics around the pipeline.

Examples:
    >>> from rmpsam_ros.node.parameters.parameter import ParameterError
    >>> from rmpsam_ros.node.parameters.table import NODE_PARAMETERS
    >>> table = {each.name: each for group in NODE_PARAMETERS.values() for each in group}
    >>> try:
    ...     table["overlay_rate"].check(-1.0)
    ... except ParameterError as error:
    ...     print(error)
    overlay_rate is -1.0; expected 0.1 to 120
"""
