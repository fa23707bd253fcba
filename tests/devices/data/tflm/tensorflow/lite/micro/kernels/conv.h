// Stub for a test, see README.md. All registrations are alike here.
#pragma once

namespace tflite {
struct Registration {};
#define STUB_REGISTRATION(op) \
  inline Registration Register_##op##_INT8() { return {}; }
STUB_REGISTRATION(ADD)
STUB_REGISTRATION(AVERAGE_POOL_2D)
STUB_REGISTRATION(CONV_2D)
STUB_REGISTRATION(DEPTHWISE_CONV_2D)
STUB_REGISTRATION(FULLY_CONNECTED)
STUB_REGISTRATION(MAX_POOL_2D)
STUB_REGISTRATION(MUL)
STUB_REGISTRATION(SOFTMAX)
STUB_REGISTRATION(SVDF)
}  // namespace tflite
