"""One self-contained page about a registered model. Knows only values; reads and runs nothing."""
