"""Which of TFLite-Micro's kernel files a model needs.

A kernel's file defines `Register_OP()`; what it shares with others it includes from a header of the
same folder, `NAME.h`, which `NAME.cc` and `NAME_common.cc` implement. To compile all would take
minutes, and some files do not compile for some cores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

FOLDER = "tensorflow/lite/micro/kernels"

_DEFINES = re.compile(r"\bTFLMRegistration\s*\*?\s*Register_(\w+)\s*\(\s*\)\s*\{")
_INCLUDES = re.compile(rf'^\s*#\s*include\s+"{FOLDER}/([\w/]+)\.h"', re.MULTILINE)
_NO_PART = re.compile(r"(_test|_test_common|/kernel_runner)\.cc$")
_VARIANT = re.compile(r"_INT(4|8|16|8_INT16|8REF)$")


def kernels(root: Path, ops: Iterable[str], *, optimized: bool) -> list[str]:
    """Files below `root` with the kernels of `ops` (the operators' names) and what they share.

    With `optimized` CMSIS-NN's kernels take the place of reference ones of the same name. Where
    an operator's file cannot be told, all files are taken.
    """
    found = {p.stem: p for p in (root / FOLDER).glob("*.cc")}
    if optimized:
        found |= {p.stem: p for p in (root / FOLDER / "cmsis_nn").glob("*.cc")}
    files = {stem: path for stem, path in found.items() if not _NO_PART.search(path.as_posix())}
    texts = {stem: path.read_text("utf-8", "replace") for stem, path in files.items()}
    homes: dict[str, set[str]] = {}
    for stem, text in texts.items():
        for name in _DEFINES.findall(text):
            homes.setdefault(_VARIANT.sub("", name), set()).add(stem)
    wanted = set(ops)
    if wanted <= homes.keys():
        chosen = _closure(root, texts, {stem for op in wanted for stem in homes[op]})
    else:
        chosen = set(files)
    return sorted(files[stem].relative_to(root).as_posix() for stem in chosen)


def _closure(root: Path, texts: Mapping[str, str], start: set[str]) -> set[str]:
    """The files that `start` needs, itself included."""
    chosen: set[str] = set()
    headers: set[str] = set()
    todo = [(stem, texts[stem]) for stem in start]
    while todo:
        stem, text = todo.pop()
        chosen |= {stem} & texts.keys()
        for header in set(_INCLUDES.findall(text)) - headers:
            headers.add(header)
            path = root / FOLDER / f"{header}.h"
            if path.is_file():
                todo.append(("", path.read_text("utf-8", "replace")))
            name = Path(header).name
            parts = {name, f"{name}_common"} & texts.keys() - chosen
            todo += [(part, texts[part]) for part in sorted(parts)]
    return chosen
