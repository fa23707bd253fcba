// Stub for a test: counts the operators, refuses more than its size.
#pragma once
#include "tensorflow/lite/micro/kernels/registration.h"

enum TfLiteStatus { kTfLiteOk, kTfLiteError };

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
