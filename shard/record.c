/* The hash functions are small and called for every record: let the compiler see them. */
#define XXH_INLINE_ALL
#include "shard/record.h"

#include "common/bytes.h"
#include "common/slot.h"

#include <assert.h>
#include <xxhash.h>

static uint32_t header_checksum(const uint8_t *header, uint32_t key_size, uint64_t seed)
{
    return (uint32_t)XXH3_64bits_withSeed(header + 4, SC_RECORD_HEADER_SIZE - 4 + key_size, seed);
}

static uint32_t value_checksum(struct sc_slice value)
{
    return (uint32_t)XXH3_64bits(value.data, value.size);
}

/* What a put has in place of the checksum of a value that was lost. */
static uint32_t lost_checksum(void)
{
    return ~value_checksum((struct sc_slice){NULL, 0});
}

void sc_record_encode(uint8_t *to, const struct sc_record *record, uint64_t seed)
{
    assert(record->key.size > 0 && record->key.size <= UINT16_MAX);
    assert(record->value.size < SC_RECORD_SIZE_MAX);
    assert(!record->lost || (record->kind == SC_RECORD_PUT && record->value.size == 0));
    size_t used = SC_RECORD_HEADER_SIZE + record->key.size + record->value.size;
    size_t size = (size_t)sc_record_size(record->key.size, record->value.size);
    sc_le32_put(to + 4, record->lost ? lost_checksum() : value_checksum(record->value));
    sc_le64_put(to + 8, record->version);
    sc_le64_put(to + 16, record->expires_ms);
    sc_le32_put(to + 24, (uint32_t)record->value.size);
    sc_le16_put(to + 28, (uint16_t)record->key.size);
    to[30] = (uint8_t)record->kind;
    to[31] = 0;
    memcpy(to + SC_RECORD_HEADER_SIZE, record->key.data, record->key.size);
    if (record->value.size > 0) {
        memcpy(to + SC_RECORD_HEADER_SIZE + record->key.size, record->value.data,
               record->value.size);
    }
    memset(to + used, 0, size - used);
    sc_le32_put(to, header_checksum(to, (uint32_t)record->key.size, seed));
}

bool sc_record_extent(const uint8_t *header, struct sc_record_extent *extent)
{
    uint32_t value_size = sc_le32_get(header + 24);
    uint32_t key_size = sc_le16_get(header + 28);
    uint8_t kind = header[30];
    if (kind < SC_RECORD_PUT || kind > SC_RECORD_CLEAR || header[31] != 0 || key_size == 0) {
        return false;
    }
    if (kind != SC_RECORD_PUT && (value_size != 0 || sc_le64_get(header + 16) != 0)) {
        return false;
    }
    if (kind == SC_RECORD_CLEAR && key_size != SC_RECORD_CLEAR_KEY_SIZE) {
        return false;
    }
    *extent = (struct sc_record_extent){key_size, value_size, sc_record_size(key_size, value_size)};
    return extent->size < SC_RECORD_SIZE_MAX;
}

bool sc_record_decode(const uint8_t *from, const struct sc_record_extent *extent, uint64_t seed,
                      struct sc_record *record)
{
    if (sc_le32_get(from) != header_checksum(from, extent->key_size, seed)) {
        return false;
    }
    const uint8_t *key = from + SC_RECORD_HEADER_SIZE;
    *record = (struct sc_record){
        .version = sc_le64_get(from + 8),
        .expires_ms = sc_le64_get(from + 16),
        .kind = (enum sc_record_kind)from[30],
        .key = {key, extent->key_size},
        .value = {key + extent->key_size, extent->value_size},
    };
    record->lost = record->kind == SC_RECORD_PUT && extent->value_size == 0 &&
                   sc_le32_get(from + 4) == lost_checksum();
    if (record->kind == SC_RECORD_CLEAR) {
        uint32_t first;
        uint32_t last;
        sc_record_clear_range(record, &first, &last);
        return first <= last && last < SC_SLOT_COUNT;
    }
    return true;
}

bool sc_record_value_ok(const uint8_t *header, struct sc_slice value)
{
    return sc_le32_get(header + 4) == value_checksum(value);
}

void sc_record_clear_key(uint8_t key[SC_RECORD_CLEAR_KEY_SIZE], uint32_t first, uint32_t last)
{
    assert(first <= last && last < SC_SLOT_COUNT);
    sc_le16_put(key, (uint16_t)first);
    sc_le16_put(key + 2, (uint16_t)last);
}

void sc_record_clear_range(const struct sc_record *record, uint32_t *first, uint32_t *last)
{
    const uint8_t *key = record->key.data;
    *first = sc_le16_get(key);
    *last = sc_le16_get(key + 2);
}
