"""What MLflow calls: the flavor and the deployment plugin. Like a command, they see all rooms."""
