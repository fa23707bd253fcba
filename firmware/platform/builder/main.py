"""How PlatformIO's SCons builds, links and starts firmware of the platform "tinydeploy".

Everything that differs between boards comes from `boards/NAME.json`, which tinydeploy generates
from the board's TOML file.
"""

import os

from SCons.Script import AlwaysBuild, Builder, Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
prefix = board.get("build.toolchain_prefix")
arch = board.get("build.arch_flags")

# `pio run` by hand refuses firmware that is larger than the board. tinydeploy refuses it later,
# with the numbers, and needs it linked for that.
if os.environ.get("TINYDEPLOY_ANY_SIZE"):
    board.update("upload.maximum_size", 0)

env.Replace(
    AR=prefix + "gcc-ar",
    AS=prefix + "gcc",
    CC=prefix + "gcc",
    CXX=prefix + "g++",
    LINK=prefix + "gcc",
    OBJCOPY=prefix + "objcopy",
    RANLIB=prefix + "gcc-ranlib",
    SIZETOOL=prefix + "size",
    ARFLAGS=["rcs"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
    SIZEPROGREGEXP=r"^(?:\.text|\.rodata|\.data)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss)\s+(\d+).*",
)
env.Append(
    ASFLAGS=arch,
    CCFLAGS=[*arch, "-ffunction-sections", "-fdata-sections"],
    LINKFLAGS=[*arch, "-Wl,--gc-sections", '-Wl,-Map="$BUILD_DIR/firmware.map"'],
    CPPDEFINES=board.get("build.defines"),
    LIBS=board.get("build.libs"),
)
env.Append(LINKFLAGS=board.get("build.link_flags"))
if board.get("build.ldscript", ""):
    env.Replace(LDSCRIPT_PATH=env.subst("$PROJECT_DIR/platform/ld/" + board.get("build.ldscript")))

# An engine in C++ brings its library along: folders of sources, compiled as they lie there.
if board.get("build.cxx_flags", []):
    env.Replace(LINK=prefix + "g++")
    env.Append(CXXFLAGS=board.get("build.cxx_flags"))
for library in board.get("build.libraries", []):
    own = env.Clone()
    own.CacheDir(board.get("build.objects"))
    own.Append(CCFLAGS=library["flags"], CFLAGS=["-std=c17"])
    sources = [f"+<{name}>" for name in library["files"]]
    env.Prepend(
        LIBS=[own.BuildLibrary("$BUILD_DIR/" + library["name"], library["folder"], sources)]
    )

elf = env.BuildProgram()
targets = [elf]
if board.get("build.binary"):
    to_binary = env.VerboseAction("$OBJCOPY -O binary $SOURCES $TARGET", "Building $TARGET")
    env.Append(BUILDERS={"ElfToBin": Builder(action=to_binary, suffix=".bin")})
    targets.append(env.ElfToBin("$BUILD_DIR/${PROGNAME}", elf))
AlwaysBuild(env.Alias("nobuild", targets))

env.AddPlatformTarget(
    "size",
    elf,
    env.VerboseAction("$SIZEPRINTCMD", "Calculating size $SOURCE"),
    "Program size",
)
if board.get("upload.protocol") == "qemu":
    env.AddPlatformTarget(
        "upload",
        elf,
        env.VerboseAction(
            '"$PYTHONEXE" -m tinydeploy.devices.emulator "$PROJECT_DIR/board.json" "$SOURCE"',
            "Starting $SOURCE",
        ),
        "Start the firmware in its emulator, until Ctrl-C",
    )
Default(targets)
