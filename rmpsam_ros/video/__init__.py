"""Whole videos from files: overlays and results that evaluation tools read.

Examples:
    >>> from rmpsam_ros.video.video_prompts import parse_prompt
    >>> click, box = parse_prompt("320,200"), parse_prompt("100,50,220,180@2.5")
    >>> click.prompt.points.tolist(), click.time
    ([[320.0, 200.0]], 0.0)
    >>> box.prompt.boxes.tolist(), box.time
    ([[100.0, 50.0, 220.0, 180.0]], 2.5)
"""
