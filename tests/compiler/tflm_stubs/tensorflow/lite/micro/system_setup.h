// Stub for a test: declares what a bundle uses of TFLite-Micro.
#pragma once

namespace tflite {
inline void InitializeTarget() {}
}  // namespace tflite
