// Stub for a test: a "model" is its bytes, which have to be aligned to 16.
#pragma once
#include <cstdint>
#include <cstdlib>

#define TFLITE_SCHEMA_VERSION 3

namespace tflite {
struct Model {
  std::uint32_t version() const { return TFLITE_SCHEMA_VERSION; }
};

inline const Model* GetModel(const void* bytes) {
  if (reinterpret_cast<std::uintptr_t>(bytes) % 16 != 0) {
    std::abort();
  }
  return static_cast<const Model*>(bytes);
}
}  // namespace tflite
