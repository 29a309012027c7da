"""Read videos: frames, sound and faces."""
