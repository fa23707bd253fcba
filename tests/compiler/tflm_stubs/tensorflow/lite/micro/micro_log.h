// Stub for a test: declares what a bundle uses of TFLite-Micro.
#pragma once
#include <cstdarg>
#include <cstdio>

inline void MicroPrintf(const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::vfprintf(stderr, format, args);
  va_end(args);
  std::fputc('\n', stderr);
}
