/*
 * Integers of fixed width and byte order in byte arrays: little-endian on disk, big-endian on the
 * wire (SP frames and msgpack). Bytes are copied, so any alignment will do.
 */
#ifndef SC_COMMON_BYTES_H
#define SC_COMMON_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define SC_BYTES_DEFINE(order, bits)                                          \
    static inline uint##bits##_t sc_##order##bits##_get(const void *from)     \
    {                                                                         \
        uint##bits##_t raw;                                                   \
        memcpy(&raw, from, sizeof raw);                                       \
        return order##bits##toh(raw);                                         \
    }                                                                         \
    static inline void sc_##order##bits##_put(void *to, uint##bits##_t value) \
    {                                                                         \
        uint##bits##_t raw = hto##order##bits(value);                         \
        memcpy(to, &raw, sizeof raw);                                         \
    }

SC_BYTES_DEFINE(le, 16)
SC_BYTES_DEFINE(le, 32)
SC_BYTES_DEFINE(le, 64)
SC_BYTES_DEFINE(be, 16)
SC_BYTES_DEFINE(be, 32)
SC_BYTES_DEFINE(be, 64)

#undef SC_BYTES_DEFINE

#endif
