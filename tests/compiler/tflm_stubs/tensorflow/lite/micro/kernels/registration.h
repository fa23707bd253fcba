// Stub for a test: what a kernel is registered with.
#pragma once

namespace tflite {
struct Registration {};
}  // namespace tflite
