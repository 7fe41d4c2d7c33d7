#include "tools/basho.h"

#include "common/bytes.h"

#define TOMBSTONE "bitcask_tombstone"
#define HINT_SIZE 18u
#define HINT_DELETED (UINT64_C(1) << 63)
#define TRAILER_OFFSET (HINT_DELETED - 1)

/* ---- Data ---- */

/* Reads what an entry says of itself; false when it does not fit. */
static bool read_head(struct sc_slice bytes, struct sc_basho_entry *entry)
{
    const uint8_t *at = bytes.data;
    if (bytes.size < SC_BASHO_HEAD_SIZE) {
        return false;
    }
    size_t key_size = sc_be16_get(at + 8);
    size_t value_size = sc_be32_get(at + 10);
    size_t left = bytes.size - SC_BASHO_HEAD_SIZE;
    if (key_size > left || value_size > left - key_size) {
        return false;
    }
    const uint8_t *key = at + SC_BASHO_HEAD_SIZE;
    *entry = (struct sc_basho_entry){
        .key = sc_slice(key, key_size),
        .value = sc_slice(key + key_size, value_size),
        .size = SC_BASHO_HEAD_SIZE + key_size + value_size,
    };
    return true;
}

bool sc_basho_read(const struct sc_crc *crc, struct sc_slice bytes, struct sc_basho_entry *entry)
{
    static const char tombstone[] = TOMBSTONE;
    const uint8_t *at = bytes.data;
    if (!read_head(bytes, entry)) {
        return false;
    }
    entry->good = sc_crc_32(crc, at + 4, entry->size - 4) == sc_be32_get(at);
    entry->deleted = entry->value.size >= sizeof tombstone - 1 &&
                     memcmp(entry->value.data, tombstone, sizeof tombstone - 1) == 0;
    return true;
}

/* The search would compute a CRC over the rest of the file for most bytes that are no head. Values
 * so small are tried at once; a larger one only where entries seem to follow it. */
#define SMALL ((size_t)1 << 20)
#define LARGE ((size_t)1 << 30)
#define FOLLOWERS 2

static bool is_likely(struct sc_slice bytes)
{
    struct sc_basho_entry entry;
    if (!read_head(bytes, &entry) || entry.key.size == 0 || entry.value.size > LARGE) {
        return false;
    }
    if (entry.value.size <= SMALL) {
        return true;
    }
    for (int i = 0; i < FOLLOWERS && entry.size < bytes.size; i++) {
        bytes = sc_slice((const uint8_t *)bytes.data + entry.size, bytes.size - entry.size);
        if (!read_head(bytes, &entry) || entry.key.size == 0 || entry.value.size > LARGE) {
            return false;
        }
    }
    return true;
}

size_t sc_basho_find(const struct sc_crc *crc, struct sc_slice bytes, size_t from)
{
    const uint8_t *start = bytes.data;
    struct sc_basho_entry entry;
    for (size_t at = from; at < bytes.size; at++) {
        struct sc_slice rest = sc_slice(start + at, bytes.size - at);
        if (is_likely(rest) && sc_basho_read(crc, rest, &entry) && entry.good) {
            return at;
        }
    }
    return bytes.size;
}

/* ---- Hints ---- */

bool sc_basho_hints_open(const struct sc_crc *crc, struct sc_slice bytes,
                         struct sc_basho_hints *hints)
{
    *hints = (struct sc_basho_hints){0};
    if (bytes.size < HINT_SIZE) {
        return false;
    }
    const uint8_t *start = bytes.data;
    const uint8_t *trailer = start + bytes.size - HINT_SIZE;
    if (sc_be32_get(trailer) != 0 || sc_be16_get(trailer + 4) != 0 ||
        sc_be64_get(trailer + 10) != TRAILER_OFFSET ||
        sc_be32_get(trailer + 6) != sc_crc_32(crc, start, (size_t)(trailer - start))) {
        return false;
    }
    *hints = (struct sc_basho_hints){start, trailer};
    return true;
}

/* Reads the next hint and its size. */
static bool read_hint(const struct sc_basho_hints *hints, struct sc_basho_hint *hint, size_t *size)
{
    size_t left = (size_t)(hints->end - hints->at);
    if (left < HINT_SIZE || sc_be16_get(hints->at + 4) > left - HINT_SIZE) {
        return false;
    }
    size_t key_size = sc_be16_get(hints->at + 4);
    uint64_t offset = sc_be64_get(hints->at + 10);
    *hint = (struct sc_basho_hint){
        .key = sc_slice(hints->at + HINT_SIZE, key_size),
        .offset = offset & ~HINT_DELETED,
        .size = sc_be32_get(hints->at + 6),
        .deleted = (offset & HINT_DELETED) != 0,
    };
    *size = HINT_SIZE + key_size;
    return true;
}

bool sc_basho_hints_seek(struct sc_basho_hints *hints, uint64_t offset, struct sc_basho_hint *hint)
{
    size_t size = 0;
    while (hints->at != NULL && read_hint(hints, hint, &size)) {
        if (hint->offset >= offset) {
            return true;
        }
        hints->at += size;
    }
    return false;
}
