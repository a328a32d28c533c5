"""Messages in: images, calibration, headers, losses and statistics."""
