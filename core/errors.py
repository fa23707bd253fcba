"""The one error tree.

::

    TinydeployError                exit 1   something failed
    |- UsageError                  exit 2   options, configuration or data that make no sense
    |- NoSufficientVariantError    exit 3   nothing satisfies the constraints
    |- UnsupportedModelError       exit 4   a model that cannot be read, converted or compiled
    |- DoesNotFitError             exit 5   larger than the board
    |- DeviceError                 exit 6   toolchain, flashing, emulator, serial link, firmware
    |  |- ToolMissingError                  a program that has to be installed
    |  |- LinkError                         the serial line: silence, garbage, wrong answers
    |  |- FirmwareFaultError                the firmware crashed; carries the fault registers
    |  |- WrongFirmwareError                the device runs another build than the host expects
    |- RegistryError               exit 7   MLflow, its database or its artifact store
    |  |- UnreachableError                  the MLflow server does not answer
    |- GateError                   exit 8   `tinydeploy gate`: a limit is broken

Every error says what happened (`message`) and what to do about it (`hint`). Errors of other
libraries are translated once, where they enter.
"""

from __future__ import annotations


class TinydeployError(Exception):
    """Base of all errors a user may see: a message, a hint, an exit code."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message only; the hint is rendered apart."""
        return self.message


class UsageError(TinydeployError):
    """Options, configuration or input data that make no sense."""

    exit_code = 2


class NoSufficientVariantError(TinydeployError):
    """No variant satisfies the constraints of a board."""

    exit_code = 3


class UnsupportedModelError(TinydeployError):
    """A model that cannot be read, converted or compiled; names the layer where one is to blame."""

    exit_code = 4


class DoesNotFitError(TinydeployError):
    """The linked firmware needs more flash or RAM than the board has."""

    exit_code = 5


class DeviceError(TinydeployError):
    """Toolchain, flashing, emulator, serial link or firmware."""

    exit_code = 6


class ToolMissingError(DeviceError):
    """A program that has to be installed first."""


class LinkError(DeviceError):
    """The serial line was silent, damaged, or answered something else than was asked."""


class FirmwareFaultError(DeviceError):
    """The firmware crashed; `registers` holds what it could still say (pc, lr, cfsr, ...)."""

    def __init__(self, message: str, *, hint: str = "", registers: dict[str, int] | None = None):
        super().__init__(message, hint=hint)
        self.registers = registers or {}


class WrongFirmwareError(DeviceError):
    """The device reports another build_id than the one the host built."""


class RegistryError(TinydeployError):
    """MLflow, its database or its artifact store."""

    exit_code = 7


class GateError(TinydeployError):
    """`tinydeploy gate`: the model breaks a limit on at least one board."""

    exit_code = 8


class UnreachableError(RegistryError):
    """The MLflow server does not answer, also not after retries."""
