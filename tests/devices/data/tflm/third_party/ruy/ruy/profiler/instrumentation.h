// Stub for a test, see README.md.
#pragma once
