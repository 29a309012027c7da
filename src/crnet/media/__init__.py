"""Reading videos: frames, sound, faces."""
