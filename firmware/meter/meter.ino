/* meter.ino: an INA219, INA226 or INA228 on any Arduino-compatible board, as an energy meter.
 *
 * Wiring and protocol: README.md. Built with the Arduino IDE or PlatformIO (framework arduino); all
 * but the pins stands in td_meter.c and td_ina.c, which tests run on a computer. */
#include <Wire.h>

extern "C" {
#include "td_meter.h"
}

#define INA_ADDRESS 0x40
#define PIN_TIMESTAMP 2     /* must be able to interrupt */
#define BAUD 921600

static struct td_meter meter;
static volatile uint32_t edge_us[16];
static volatile uint8_t edges_seen;
static uint8_t edges_sent;
static uint32_t last_us;

static bool read_bytes(uint8_t address, uint8_t bytes, uint32_t *value)
{
    Wire.beginTransmission((uint8_t)INA_ADDRESS);
    Wire.write(address);
    if (Wire.endTransmission(false) != 0 || Wire.requestFrom((uint8_t)INA_ADDRESS, bytes) != bytes) {
        return false;
    }
    *value = 0;
    while (bytes-- > 0) {
        *value = *value << 8 | (uint8_t)Wire.read();
    }
    return true;
}

static bool read16(uint8_t address, uint16_t *value)
{
    uint32_t found = 0;
    if (!read_bytes(address, 2, &found)) {
        return false;
    }
    *value = (uint16_t)found;
    return true;
}

static void write16(const struct td_ina_setup *setup)
{
    Wire.beginTransmission((uint8_t)INA_ADDRESS);
    Wire.write(setup->address);
    Wire.write((uint8_t)(setup->value >> 8));
    Wire.write((uint8_t)setup->value);
    Wire.endTransmission();
}

static void put(char c)
{
    Serial.write((uint8_t)c);
}

static void on_edge()
{
    edge_us[edges_seen++ % 16u] = micros();
}

void setup()
{
    Serial.begin(BAUD);
    Wire.begin();
    Wire.setClock(400000);
    const struct td_ina *ina = td_ina_detect(read16);
    if (ina != NULL) {
        write16(&ina->setup[0]);
        write16(&ina->setup[1]);
    }
    td_meter_init(&meter, ina, put);
    pinMode(PIN_TIMESTAMP, INPUT_PULLUP);
    attachInterrupt(digitalPinToInterrupt(PIN_TIMESTAMP), on_edge, FALLING);
}

void loop()
{
    uint32_t state = 0;
    uint32_t shunt = 0;
    uint32_t bus = 0;
    while (Serial.available() > 0) {
        bool was_running = meter.running;
        td_meter_byte(&meter, (char)Serial.read());
        if (meter.running && !was_running) {
            edges_sent = edges_seen;    /* what came before belongs to nobody */
            last_us = micros();
        }
    }
    while (edges_sent != edges_seen) {
        td_meter_edge(&meter, edge_us[edges_sent++ % 16u]);
    }
    if (meter.ina == NULL || !read_bytes(meter.ina->ready.address, 2, &state) ||
        (state & meter.ina->ready_mask) == 0) {
        return;
    }
    uint32_t now = micros();
    /* The INA219's flag is cleared by its power register alone. */
    if (meter.ina->chip == TD_INA219) {
        read_bytes(3, 2, &state);
    }
    if (read_bytes(meter.ina->shunt.address, meter.ina->shunt.bytes, &shunt) &&
        read_bytes(meter.ina->bus.address, meter.ina->bus.bytes, &bus)) {
        uint32_t passed = (now - last_us + meter.ina->period_us / 2u) / meter.ina->period_us;
        if (passed > 1u) {
            td_meter_missed(&meter, passed - 1u);
        }
        last_us = now;
        td_meter_sample(&meter, now, shunt, bus);
    }
}
