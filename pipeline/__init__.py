"""ModelSource to Artifact to Selection."""
