"""The PlatformIO platform of boards whose compiler comes from the system's packages."""

import shutil

from platformio.public import PlatformBase


class TinydeployPlatform(PlatformBase):
    """Needs no packages, so PlatformIO asks no registry for any."""

    def configure_default_packages(self, variables, targets):
        """Fail early and in plain words if the compiler is missing."""
        board = self.board_config(variables["board"])
        compiler = board.get("build.toolchain_prefix") + "gcc"
        if not shutil.which(compiler):
            raise RuntimeError(
                f"{compiler} is not on PATH: `tinydeploy doctor` says how to install it"
            )
        return super().configure_default_packages(variables, targets)
