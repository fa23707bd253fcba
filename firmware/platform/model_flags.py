"""Compile the model's own sources for speed or size, unlike the rest of `src`.

An extra script of platformio.ini, so that it works with every platform.
"""

Import("env")  # SCons puts it there

flags = env.GetProjectOption("custom_model_flags").split()


def for_the_model(env, node):
    """The same object with the model's flags behind the others: the last -O counts."""
    return env.Object(node, CCFLAGS=[*env["CCFLAGS"], *flags])


env.AddBuildMiddleware(for_the_model, "*/model/*.c")
