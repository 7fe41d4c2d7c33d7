/*
 * The files of Basho's Bitcask. All integers are big-endian, CRC is CRC-32.
 *
 *   N.bitcask.data   entries back to back
 *        0  u32  CRC of everything behind it       8  u16  size of the key, K
 *        4  u32  time, seconds                    10  u32  size of the value, V
 *       14  the key, then the value
 *   N.bitcask.hint   one entry for each in the data file, in the same order, then a trailer
 *        0  u32  time                             10  u64  bit 63: a tombstone; offset of the entry
 *        4  u16  size of the key, K               18  the key
 *        6  u32  size of the data entry
 *        the trailer: an entry with time 0, no key, the largest offset, and instead of the size the
 *        CRC of all hint entries before it
 *
 * A tombstone is an entry whose value begins with "bitcask_tombstone".
 */
#ifndef SC_TOOLS_BASHO_H
#define SC_TOOLS_BASHO_H

#include <stdbool.h>

#include "common/buf.h"
#include "tools/crc.h"

#define SC_BASHO_HEAD_SIZE 14u

/* An entry; the slices borrow the file's bytes. */
struct sc_basho_entry {
    struct sc_slice key;
    struct sc_slice value;
    bool deleted;
    bool good; /* its CRC is right */
    uint64_t size;
};

/* Reads the entry at the beginning of `bytes`, which reach to the end of the file. False when there
 * are fewer bytes than it says it has. Nothing in an entry that is not good can be relied on. */
bool sc_basho_read(const struct sc_crc *crc, struct sc_slice bytes, struct sc_basho_entry *entry);

/* Searches from `from` on, byte by byte, for an entry with a good CRC: its offset, or bytes.size.
 */
size_t sc_basho_find(const struct sc_crc *crc, struct sc_slice bytes, size_t from);

/* A hint file that has been checked. All zero is one without entries. */
struct sc_basho_hints {
    const uint8_t *at; /* what is left */
    const uint8_t *end;
};

struct sc_basho_hint {
    struct sc_slice key;
    uint64_t offset; /* of the entry in the data file */
    uint64_t size;
    bool deleted;
};

/* Checks a hint file as a whole. False, without hints, when its trailer is missing or wrong. */
bool sc_basho_hints_open(const struct sc_crc *crc, struct sc_slice bytes,
                         struct sc_basho_hints *hints);

/* The first hint at `offset` or beyond it, which stays the next; false when there is none. Offsets
 * asked for must not go down. */
bool sc_basho_hints_seek(struct sc_basho_hints *hints, uint64_t offset, struct sc_basho_hint *hint);

#endif
