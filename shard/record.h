/*
 * Records: what data files consist of. This module knows their bytes.
 *
 *   offset size
 *        0    4  header checksum: low half of XXH3_64bits_withSeed over bytes 4 to the end of the
 *                key, the seed being the file's salt XOR the record's offset in the file
 *        4    4  value checksum: low half of XXH3_64bits (seed 0) over the value
 *        8    8  version
 *       16    8  expiry, milliseconds since 1970; 0: none
 *       24    4  size of the value
 *       28    2  size of the key, at least 1
 *       30    1  kind: 1 put, 2 tombstone, 3 clear
 *       31    1  0
 *       32       key, value, zeros up to a multiple of 8
 *
 * Integers are little-endian. Records start at multiples of 8 and follow each other without a gap.
 * Tombstones and clears have no value and no expiry. The key of a clear is 4 bytes, the first and
 * the last slot of a range (u16 each): every record with a key in these slots and a version up to
 * the clear's is deleted, wherever it is. Of two records with one key the larger version wins,
 * wherever they are.
 *
 * A put without a value whose value checksum is wrong says that the key's value was lost: damage
 * was found where it stood. Such a record is whole, and counts like any put.
 *
 * The header's checksum covers the value's, so a record is whole when both hold; when only the
 * value's does not, the key is still known. The seed ties a record to its place: a copy of it
 * elsewhere, say in a backup of a data file that was stored as a value, is never taken for a record
 * when a reader looks for the next one behind a damaged stretch.
 */
#ifndef SC_SHARD_RECORD_H
#define SC_SHARD_RECORD_H

#include "common/buf.h"

#define SC_RECORD_HEADER_SIZE 32u
#define SC_RECORD_UNIT 8u
#define SC_RECORD_SIZE_MAX (UINT64_C(1) << 26) /* exclusive; a larger one is damage */

enum sc_record_kind {
    SC_RECORD_PUT = 1,
    SC_RECORD_TOMBSTONE = 2,
    SC_RECORD_CLEAR = 3,
};

struct sc_record {
    uint64_t version;
    uint64_t expires_ms; /* 0: never */
    enum sc_record_kind kind;
    struct sc_slice key;
    struct sc_slice value;
    bool lost; /* a put that says that the value was lost; it has none */
};

/* Bytes of the whole record, padding included. */
static inline uint64_t sc_record_size(uint64_t key_size, uint64_t value_size)
{
    uint64_t size = SC_RECORD_HEADER_SIZE + key_size + value_size;
    return (size + SC_RECORD_UNIT - 1) & ~(uint64_t)(SC_RECORD_UNIT - 1);
}

/* Writes sc_record_size() bytes. `seed`: the file's salt XOR the offset. */
void sc_record_encode(uint8_t *to, const struct sc_record *record, uint64_t seed);

/* What a header claims before anything is verified. */
struct sc_record_extent {
    uint32_t key_size;
    uint32_t value_size;
    uint64_t size; /* of the whole record */
};

/* Reads the sizes out of SC_RECORD_HEADER_SIZE bytes. False: no record can look like this. */
bool sc_record_extent(const uint8_t *header, struct sc_record_extent *extent);

/* Verifies the header and key at `from`, of which at least SC_RECORD_HEADER_SIZE + extent->key_size
 * bytes are there; on true fills `record`, whose slices point behind `from`; the value, which may
 * lie beyond what was read, is not looked at. */
bool sc_record_decode(const uint8_t *from, const struct sc_record_extent *extent, uint64_t seed,
                      struct sc_record *record);

/* Makes a put say that its value was lost. */
static inline void sc_record_lose(struct sc_record *record)
{
    record->lost = true;
    record->value = (struct sc_slice){NULL, 0};
}

/* Whether a value is the one that the header at `header` was written for. */
bool sc_record_value_ok(const uint8_t *header, struct sc_slice value);

/* The key of a clear. */
#define SC_RECORD_CLEAR_KEY_SIZE 4u
void sc_record_clear_key(uint8_t key[SC_RECORD_CLEAR_KEY_SIZE], uint32_t first, uint32_t last);
void sc_record_clear_range(const struct sc_record *record, uint32_t *first, uint32_t *last);

#endif
