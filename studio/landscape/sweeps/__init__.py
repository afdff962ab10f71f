"""Sweeps: what changes from keyframe to keyframe."""
