// Stub for a test, see README.md.
#pragma once
#include "flatbuffers/flatbuffers.h"

namespace tflite {
struct Model {};

inline const Model* GetModel(const void* bytes) { return static_cast<const Model*>(bytes); }
}  // namespace tflite
