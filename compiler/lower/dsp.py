"""Variants for Cortex-M with the DSP extension (M4, M7, M33, M35P, M55, M85)."""

from __future__ import annotations

from tinydeploy.compiler.lower.variant import Variant

VARIANTS: tuple[Variant, ...] = ()
