#include "common/slot.h"

#include <xxhash.h>

uint64_t sc_slot_hash(struct sc_slice key)
{
    return XXH3_64bits(key.data, key.size);
}
