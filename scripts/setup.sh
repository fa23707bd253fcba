#!/usr/bin/env bash
# Sets up everything the main job needs: system tools (Debian packages, only what is missing) and
# .venv from requirements.lock. Run again, it does nothing when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

# ---- system tools: "what proves it is there" -> "Debian package"
missing=()
need() { eval "$1" >/dev/null 2>&1 || missing+=("$2"); }
need 'command -v cc' gcc
need 'command -v arm-none-eabi-gcc' gcc-arm-none-eabi
need 'test -f "$(arm-none-eabi-gcc -print-file-name=nano.specs)"' libnewlib-arm-none-eabi
need 'command -v riscv64-unknown-elf-gcc' gcc-riscv64-unknown-elf
need 'test -f "$(riscv64-unknown-elf-gcc -print-file-name=picolibc.specs)"' picolibc-riscv64-unknown-elf
need 'command -v qemu-system-arm' qemu-system-arm
need 'command -v qemu-system-riscv32' qemu-system-misc
need 'test -d /usr/share/datasets/fashion-mnist' dataset-fashion-mnist
need 'command -v openocd' openocd
need 'command -v chromium' chromium
need 'ls /usr/lib/postgresql/*/bin/initdb' postgresql
need 'python3 -c "import ensurepip, venv"' python3-venv

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    say "please install: ${missing[*]} (Debian's names), then run make setup again"
    exit 1
  fi
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "as root: apt-get install ${missing[*]}"; exit 1; }
    sudo=sudo
  fi
  say "installing with apt: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# ---- Python
python=""
for candidate in python3.11 python3; do
  if command -v "$candidate" >/dev/null &&
    "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  say "needs Python 3.11 with venv (requirements.lock is made for it): apt-get install python3.11-venv"
  exit 1
fi

stamp=.venv/.requirements
wanted=$(cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  say "installing $(grep -c '^[a-z]' requirements.lock) Python packages into .venv"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9
  VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install -q --compile-bytecode --require-hashes -r requirements.lock
  VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install -q --no-deps --no-build-isolation -e .
  printf '%s' "$wanted" >"$stamp"
fi
say "ready: .venv/bin/tinydeploy"
