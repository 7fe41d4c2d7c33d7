#include "tools/crc.h"

#include "common/bytes.h"

void sc_crc_init(struct sc_crc *crc, uint64_t polynomial)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t value = byte;
        for (int bit = 0; bit < 8; bit++) {
            value = (value & 1) != 0 ? value >> 1 ^ polynomial : value >> 1;
        }
        crc->table[0][byte] = value;
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        for (int zeros = 1; zeros < 8; zeros++) {
            uint64_t value = crc->table[zeros - 1][byte];
            crc->table[zeros][byte] = value >> 8 ^ crc->table[0][value & 0xff];
        }
    }
}

uint64_t sc_crc_update(const struct sc_crc *crc, uint64_t value, const void *data, size_t size)
{
    const uint8_t *at = data;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t next = value ^ sc_le64_get(at);
        value = 0;
        for (unsigned i = 0; i < 8; i++) {
            value ^= crc->table[7 - i][next >> (8 * i) & 0xff];
        }
    }
    for (; size > 0; size--, at++) {
        value = value >> 8 ^ crc->table[0][(value ^ *at) & 0xff];
    }
    return value;
}
