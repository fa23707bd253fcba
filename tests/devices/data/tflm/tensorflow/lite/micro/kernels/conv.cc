// Stub for a test, see README.md.
#include <cstdint>

#include "fixedpoint/fixedpoint.h"
#include "ruy/profiler/instrumentation.h"

std::uint8_t StubInvert(std::uint8_t byte) { return static_cast<std::uint8_t>(~byte); }
