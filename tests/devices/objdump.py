"""A second opinion on instructions: GNU as, objdump, and the class that a mnemonic names."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

TOOLS = {"thumb": "arm-none-eabi-", "rv32": "riscv64-unknown-elf-"}
_LINE = re.compile(r"\s*[0-9a-f]+:\t([0-9a-f ]+?)\s*\t(\S+)\s*(.*)")


@dataclass(frozen=True)
class Shown:
    """One disassembled instruction; `code` holds its bytes in memory order, as hex digits."""

    code: str
    mnemonic: str
    operands: str


def tool(*command: str, stdin: str | None = None) -> str:
    return subprocess.run(
        command, input=stdin, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def disassemble(isa: str, path: Path, *flags: str) -> list[Shown]:
    """Every instruction of an object or ELF file; data is left out."""
    if isa == "rv32":
        flags = (*flags, "-M", "no-aliases")
    found = []
    for line in tool(TOOLS[isa] + "objdump", "-d", *flags, str(path)).splitlines():
        match = _LINE.match(line)
        if match is None or match[2].startswith("."):
            continue
        # Units of 16 bits (Arm) or one whole word (RISC-V), printed as numbers.
        units = [bytes.fromhex(unit)[::-1].hex() for unit in match[1].split()]
        found.append(Shown("".join(units), match[2], re.split("[;@]", match[3])[0].strip()))
    return found


def assemble(isa: str, instructions: list[str], flags: list[str], folder: Path) -> list[Shown]:
    """What objdump shows of each instruction. Each has a section: branches and ITs stay apart."""
    source, result = folder / "test.s", folder / "test.o"
    lines = [".syntax unified", ".thumb"] if isa == "thumb" else [".option norelax"]
    for index, instruction in enumerate(instructions):
        lines += [f'.section .text.i{index:04}, "ax"', instruction]
    source.write_text("\n".join(lines) + "\n")
    tool(TOOLS[isa] + "as", *flags, str(source), "-o", str(result))
    shown = disassemble(isa, result)
    assert len(shown) == len(instructions)
    return shown


# ---------------------------------------------------------------- classes by mnemonic
_CONDITION = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)"
_IF = f"{_CONDITION}?"
_SIMD = (
    "(?:s|u|q|uq|sh|uh)(?:add|sub)(?:8|16)|(?:s|u|q|uq|sh|uh)(?:asx|sax)|qd?add|qd?sub|sel|"
    "[su]xtb16|[su]xta(?:b16|b|h)|pkh(?:bt|tb)|usada?8|[su]sat16"
)
_ALU = (
    "(?:mov|mvn|add|adc|sub|sbc|rsb|and|orr|orn|eor|bic|lsl|lsr|asr|ror|rrx|neg)s?|movw|movt|addw|"
    "subw|cmp|cmn|tst|teq|adr|clz|rbit|rev16|revsh|rev|[su]xt[bh]|bfi|bfc|[su]bfx|[su]sat|"
    "cs(?:el|inc|inv|neg|et|etm)|cinc|cinv|cneg|(?:ls|as)(?:l|r)l|\\S*shl|\\S*shr"
)
_OTHER = (
    "nop|wfi|wfe|sev|yield|cps\\S+|svc|bkpt|udf|dmb|dsb|isb|mrs|msr|clrex|pld|pli|dls|dlstp\\S*|"
    "lctp|sg|clrm|tt\\S*|mcr|mrc"
)
# Class, whether a condition may follow the mnemonic, mnemonics.
_THUMB = [
    ("it", False, "i[te]{1,4}"),
    ("bc", False, f"b{_CONDITION}|cbn?z|le|wls|letp|wlstp\\S*"),
    ("b", True, "b|tbb|tbh"),
    ("call", True, "bl|blx|blxns"),
    ("div", True, "[su]div"),
    ("mull", True, "[su]mul+s?|[su]mlals?|umaal|smlal[bt][bt]|smlaldx?|smlsldx?"),
    ("mul", True, "muls?|smul[bt][bt]|smulw[bt]|smuadx?|smusdx?|smmulr?"),
    ("mac", True, "ml[as]|smla[bt][bt]|smlaw[bt]|smladx?|smlsdx?|smml[as]r?"),
    ("simd", True, _SIMD),
    ("ldm", True, "pop|ldmia|ldmdb|ldm|ldrd"),
    ("stm", True, "push|stmia|stmdb|stm|strd"),
    ("ld", True, "ldr(?:s?[bh])?t?|ldrex[bh]?|lda\\S*"),
    ("st", True, "str[bh]?t?|strex[bh]?|stl\\S*"),
    ("other", True, _OTHER),
    ("alu", True, _ALU),
]
_RISCV = [
    ("mull", "mulh\\S*"),
    ("mul", "mul"),
    ("div", "div|divu|rem|remu"),
    ("ld", "l[bhw]u?|lwsp|lr\\S*|sc\\S*|amo\\S*"),
    ("st", "s[bhw]|swsp"),
    ("bc", "b(?:eq|ne|lt|ge|ltu|geu|eqz|nez)"),
    ("fld", "fl[wd](?:sp)?"),
    ("fst", "fs[wd](?:sp)?"),
    ("fdiv", "f(?:div|sqrt)\\S*"),
    ("fmac", "fn?m(?:add|sub)\\S*"),
    ("fp", "f(?!ence).*"),
    ("other", "ecall|ebreak|fence\\S*|csr\\S*|wfi|mret|unimp"),
    ("alu", "add\\S*|sub|lui|auipc|li|mv|nop|s[lr][la]i?|slti?u?|sltu|sltiu|andi?|ori?|xori?"),
]


def named_class(isa: str, shown: Shown) -> str | None:
    """The class that the mnemonic names; None where it says nothing."""
    return _riscv_class(shown) if isa == "rv32" else _thumb_class(shown)


def _riscv_class(shown: Shown) -> str | None:
    mnemonic = shown.mnemonic.removeprefix("c.")
    if mnemonic in ("jal", "jalr", "j", "jr"):
        links = shown.mnemonic in ("c.jal", "c.jalr") or shown.operands.startswith("ra,")
        returns = re.match(r"^(zero,0\(ra\)|ra)$", shown.operands)
        return "call" if links or returns else "b"
    return next((c for c, p in _RISCV if re.fullmatch(p, mnemonic)), None)


def _thumb_class(shown: Shown) -> str | None:
    mnemonic, operands = shown.mnemonic, shown.operands
    if shown.code == "c046":
        return "alu"  # mov r8, r8: Armv6-M has no other nop
    if mnemonic.startswith("v"):
        return _vector_class(mnemonic, operands)
    if re.fullmatch(f"bx(ns)?{_IF}", mnemonic):
        return "call" if operands == "lr" else "b"
    if re.fullmatch(rf"(mov|add){_IF}(\.n)?", mnemonic) and operands.startswith("pc,"):
        return "b"
    if re.fullmatch(r"(pop|ldr)\S*\.w", mnemonic) and re.fullmatch(r"\{\w+\}", operands):
        return "ld"  # pop.w of one register is a load
    for name, conditional, pattern in _THUMB:
        if re.fullmatch(rf"(?:{pattern}){_IF if conditional else ''}(?:\.[nw])?", mnemonic):
            return name
    return None


def _vector_class(mnemonic: str, operands: str) -> str:
    helium = "vp(st|not|t|sel)|vctp|vmladav|vshlc|vaddv|vldr[bhwd]|vstr[bhwd]"
    if re.search(r"\bq\d", operands) or re.match(helium, mnemonic):
        return "mve"
    if mnemonic.startswith(("vldr", "vstr")):
        return "fld" if mnemonic[1] == "l" else "fst"
    if mnemonic.startswith(("vldm", "vpop")):
        return "fldm"
    if mnemonic.startswith(("vstm", "vpush")):
        return "fstm"
    if re.match("vn?ml[as]|vfn?m[as]", mnemonic):
        return "fmac"
    return "fdiv" if re.match("vdiv|vsqrt", mnemonic) else "fp"
