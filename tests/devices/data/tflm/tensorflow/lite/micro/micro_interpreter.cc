// Stub for a test, see README.md.
#include "tensorflow/lite/micro/micro_interpreter.h"

namespace tflite {
MicroInterpreter::MicroInterpreter(const Model*, const MicroOpResolver& resolver,
                                   std::uint8_t* arena, std::size_t arena_bytes,
                                   MicroResourceVariables*, MicroProfilerInterface* profiler)
    : resolver_(resolver), arena_(arena), arena_bytes_(arena_bytes), profiler_(profiler) {}

TfLiteStatus MicroInterpreter::AllocateTensors() {
  if (resolver_.count != kStubOps || arena_bytes_ < kStubArenaBytes + kStubSlackBytes) {
    return kTfLiteError;
  }
  input_ = {kTfLiteInt8, {reinterpret_cast<char*>(arena_)}, kStubInputBytes};
  output_ = {kTfLiteInt8, {reinterpret_cast<char*>(arena_ + kStubInputBytes)}, kStubOutputBytes};
  return kTfLiteOk;
}

TfLiteStatus MicroInterpreter::Invoke() {
  for (unsigned layer = 0; layer < kStubLayers; layer++) {
    std::uint32_t event = profiler_ != nullptr ? profiler_->BeginEvent("op") : 0;
    for (std::size_t i = 0; i < kStubOutputBytes; i++) {
      arena_[kStubInputBytes + i] = StubInvert(arena_[i]);
    }
    if (profiler_ != nullptr) {
      profiler_->EndEvent(event);
    }
  }
  return kTfLiteOk;
}
}  // namespace tflite
