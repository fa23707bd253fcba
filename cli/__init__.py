"""The command line: parses, calls one function, renders. The only room that sees all others."""
