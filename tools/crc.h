/*
 * Cyclic redundancy checks in the reflected form, of up to 64 bits: what other stores' files carry.
 *
 * The register and what it is XORed with at the beginning and the end are the caller's: CRC-32
 * begins with 0xffffffff and is inverted at the end, Redis's CRC-64 does neither.
 */
#ifndef SC_TOOLS_CRC_H
#define SC_TOOLS_CRC_H

#include <stddef.h>
#include <stdint.h>

#define SC_CRC_32 UINT64_C(0xedb88320) /* zlib, IEEE 802.3 */
#define SC_CRC_64_JONES UINT64_C(0x95ac9329ac4bc9b5) /* Redis */

struct sc_crc {
    uint64_t table[8][256]; /* [k][b]: the byte b, followed by k zero bytes */
};

/* Fills the tables for a polynomial with its bits reversed. */
void sc_crc_init(struct sc_crc *crc, uint64_t polynomial);

/* Takes bytes in: returns the register after them. */
uint64_t sc_crc_update(const struct sc_crc *crc, uint64_t value, const void *data, size_t size);

/* CRC-32 of a whole, the tables being for SC_CRC_32. */
static inline uint32_t sc_crc_32(const struct sc_crc *crc, const void *data, size_t size)
{
    return (uint32_t)~sc_crc_update(crc, UINT32_MAX, data, size);
}

#endif
