"""PlatformIO runs this file of its package tool-scons: the SCons of the same interpreter."""

import sys

if __name__ == "__main__":
    import SCons.Script

    sys.exit(SCons.Script.main())
