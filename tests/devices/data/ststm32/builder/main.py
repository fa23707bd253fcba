"""Builds for QEMU's mps2-an386, as the platform's own builder does for its chips."""

import os

from SCons.Script import AlwaysBuild, Builder, Default, DefaultEnvironment

env = DefaultEnvironment()
arch = ["-mthumb", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
firmware = os.environ["STAND_IN_FIRMWARE"]
env.Replace(
    AR="arm-none-eabi-gcc-ar",
    CC="arm-none-eabi-gcc",
    CXX="arm-none-eabi-g++",
    LINK="arm-none-eabi-gcc",
    OBJCOPY="arm-none-eabi-objcopy",
    RANLIB="arm-none-eabi-gcc-ranlib",
    ARFLAGS=["rcs"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    LDSCRIPT_PATH=os.path.join(firmware, "platform", "ld", "firmware.ld"),
)
memory = {
    "TD_FLASH_ORIGIN": 0,
    "TD_FLASH_ROOM": 0x400000,
    "TD_RAM_ORIGIN": 0x20000000,
    "TD_RAM_ROOM": 0x400000,
    "TD_RAM_BYTES": 0x40000,
}
env.Append(
    CCFLAGS=[*arch, "-Os", "-ffunction-sections", "-fdata-sections"],
    CXXFLAGS=["-fno-exceptions", "-fno-rtti"],
    LINKFLAGS=[
        *arch,
        "-Wl,--gc-sections",
        "--specs=nano.specs",
        "-nostartfiles",
        *(f"-Wl,--defsym={name}={value:#x}" for name, value in memory.items()),
    ],
)
elf = env.BuildProgram()
to_binary = env.VerboseAction("$OBJCOPY -O binary $SOURCES $TARGET", "Building $TARGET")
env.Append(BUILDERS={"ElfToBin": Builder(action=to_binary, suffix=".bin")})
targets = [elf, env.ElfToBin("$BUILD_DIR/${PROGNAME}", elf)]
AlwaysBuild(env.Alias("nobuild", targets))
Default(targets)
