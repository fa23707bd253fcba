// mbed.h: the part of Mbed OS that its port uses, for a syntax check.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum PinName { USBTX, USBRX };

namespace mbed {
class UnbufferedSerial {
 public:
  UnbufferedSerial(PinName tx, PinName rx, int baud);
  bool readable();
  long read(void *buffer, size_t size);
  long write(const void *buffer, size_t size);
};
}  // namespace mbed

extern "C" uint32_t us_ticker_read(void);
