#include "coordinator/slotset.h"

uint32_t sc_slotset_count(const struct sc_slotset *set)
{
    uint32_t count = 0;
    for (size_t i = 0; i < SC_SLOTSET_WORDS; i++) {
        count += (uint32_t)__builtin_popcountll(set->words[i]);
    }
    return count;
}

uint32_t sc_slotset_range_end(const struct sc_slotset *set, uint32_t slot)
{
    size_t at = slot / 64;
    uint64_t gaps = ~set->words[at] & (UINT64_MAX << (slot % 64));
    while (gaps == 0) {
        if (++at == SC_SLOTSET_WORDS) {
            return SC_SLOT_COUNT - 1;
        }
        gaps = ~set->words[at];
    }
    return (uint32_t)(at * 64) + (uint32_t)__builtin_ctzll(gaps) - 1;
}

static void add_range(struct sc_slotset *set, uint32_t first, uint32_t last)
{
    for (uint32_t at = first / 64; at <= last / 64; at++) {
        uint64_t from = at == first / 64 ? UINT64_MAX << (first % 64) : UINT64_MAX;
        uint64_t to = at == last / 64 ? UINT64_MAX >> (63 - last % 64) : UINT64_MAX;
        set->words[at] |= from & to;
    }
}

void sc_slotset_put(const struct sc_slotset *set, struct sc_buf *out)
{
    size_t offset = sc_mp_open_array(out);
    uint32_t ranges = 0;
    SC_SLOTSET_EACH_RANGE (range, set) {
        sc_mp_put_array(out, 2);
        sc_mp_put_uint(out, range.first);
        sc_mp_put_uint(out, range.last);
        ranges++;
    }
    sc_mp_close_array(out, offset, ranges);
}

bool sc_slotset_read(struct sc_slotset *set, struct sc_mp *mp)
{
    uint32_t count = 0;
    uint64_t next = 0;
    if (!sc_mp_array(mp, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t members = 0;
        uint64_t first = 0;
        uint64_t last = 0;
        if (!sc_mp_array(mp, &members) || members != 2 || !sc_mp_uint(mp, &first) ||
            !sc_mp_uint(mp, &last) || first < next || last < first || last >= SC_SLOT_COUNT) {
            return false;
        }
        add_range(set, (uint32_t)first, (uint32_t)last);
        next = last + 1;
    }
    return true;
}
