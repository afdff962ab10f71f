"""The stages: train, measure, render, deliver; each resumes from what the shelf holds."""
