"""The stand-in of an Arduino core as a framework: headers, and one library of its sources."""

import os

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
firmware, core = os.environ["STAND_IN_FIRMWARE"], os.environ["STAND_IN_CORE"]
env.Append(CPPPATH=[core])
own = env.Clone()
own.Append(
    CPPPATH=[os.path.join(firmware, folder) for folder in ("include", "lib/td_link")],
    CPPDEFINES=[
        ("F_CPU", "25000000u"),
        ("TD_UART_BASE", "0x40004000"),
        ("TD_FPGAIO_BASE", "0x40028000"),
        *(f"td_{n}=board_{n.removeprefix('port_')}" for n in os.environ["STAND_IN_NAMES"].split()),
    ],
)
# Its start-up code is named by nobody: as objects it is linked all the same.
sources = ["src/startup.c", "src/startup_cm.c", "src/fault.c", "ports/cmsdk.c"]
env.Append(
    PIOBUILDFILES=[
        own.Object(
            f"$BUILD_DIR/FrameworkArduino/{os.path.basename(name)}.o", os.path.join(firmware, name)
        )
        for name in [*sources, "lib/td_link/td_crc32.c", os.path.join(core, "core.cpp")]
    ]
)
