// Stub for a test, see README.md.
#pragma once
#include <cstdint>

#include "tensorflow/lite/micro/kernels/conv.h"

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

#define TF_LITE_ENSURE_STATUS(call) \
  do {                              \
    const TfLiteStatus s = (call);  \
    if (s != kTfLiteOk) return s;   \
  } while (0)

namespace tflite {
class MicroOpResolver {
 public:
  unsigned count = 0;
};

template <unsigned kSize>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
#include "resolver_methods.inc"

 private:
  TfLiteStatus Add() { return ++count <= kSize ? kTfLiteOk : kTfLiteError; }
};
}  // namespace tflite

std::uint8_t StubInvert(std::uint8_t byte);
